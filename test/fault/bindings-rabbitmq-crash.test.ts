import { expect, test } from "bun:test";
import type { BindingRequest } from "../../src/component/binding.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import rabbitmq from "../../src/components/bindings/rabbitmq.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRabbitmq } from "../contract/rabbitmq.ts";

test("bindings.rabbitmq loses nothing that was confirmed in two kills -9 of the broker", async () => {
  const broker = await startRabbitmq();
  const items = { queueName: "work", durable: "true", reconnectWaitSeconds: "200ms" };
  const binding = await rabbitmq.open(broker.options(rabbitmq, items), componentHost());
  try {
    const tries = new Map<string, number>();
    await binding.read?.(async ({ data }) => {
      const text = Buffer.from(data).toString();
      const count = (tries.get(text) ?? 0) + 1;
      tries.set(text, count);
      if (count === 1 && text.endsWith("0")) throw new Error("again");
      return undefined;
    });
    const confirmed: string[] = [];
    let isOver = false;
    const send = async (text: string): Promise<void> => {
      const request: BindingRequest = { operation: "create", data: Buffer.from(text), metadata: {} };
      try {
        await binding.invoke?.(request);
        confirmed.push(text);
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
        await new Promise((next) => setTimeout(next, 2));
      }
    };
    const sending = (async () => {
      for (let number = 1; !isOver; number++) await send(`${number}`);
    })();
    for (let kill = 0; kill < 2; kill++) {
      const before = confirmed.length;
      await until(() => confirmed.length > before + 150, "it goes on", 60_000);
      await broker.server.kill();
      await broker.server.start();
    }
    const before = confirmed.length;
    await until(() => confirmed.length > before + 50, "it goes on", 60_000);
    isOver = true;
    await sending;
    const wanted = (text: string) => (text.endsWith("0") ? 2 : 1);
    const missing = () => confirmed.filter((text) => (tries.get(text) ?? 0) < wanted(text));
    await until(() => missing().length === 0, "all are handled", 60_000).catch(() => undefined);
    expect(missing()).toEqual([]);
  } finally {
    await binding.close();
    await broker.stop();
  }
}, 240_000);
