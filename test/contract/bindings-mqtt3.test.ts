import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Binding, BindingEvent } from "../../src/component/binding.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import mqtt3 from "../../src/components/bindings/mqtt3.ts";
import { until } from "../../src/testing/index.ts";
import { isDone } from "../fault/is-done.ts";
import { signalTree } from "../signal-tree.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startMosquitto, type TestMosquitto } from "./mosquitto.ts";

let server: TestMosquitto;
beforeAll(async () => {
  server = await startMosquitto();
}, 60_000);
afterAll(() => server.stop());

const withBinding = async (items: Record<string, string>, run: (binding: Binding) => Promise<void>) => {
  const binding = await mqtt3.open(server.options(mqtt3, items), componentHost());
  try {
    await run(binding);
  } finally {
    await binding.close();
  }
};
const create = async (binding: Binding, text: string, metadata: Record<string, string> = {}) =>
  binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata });
const read = async (binding: Binding) => {
  const events: BindingEvent[] = [];
  await binding.read?.(async (event) => {
    events.push(event);
    return undefined;
  });
  return events;
};

test("sends to its topic or the request's, and gets the messages of its topic", () =>
  withBinding({ topic: "in/+", consumerID: "both" }, async (binding) => {
    const events = await read(binding);
    expect(await create(binding, "one", { topic: "in/a" })).toBeUndefined();
    await withBinding({ topic: "in/b" }, async (other) => void (await create(other, "two")));
    await eventually("both are there", () => events.length === 2);
    expect(events.map(({ data, metadata }) => `${metadata.topic} ${Buffer.from(data)}`)).toEqual([
      "in/a one",
      "in/b two",
    ]);
  }));

test("tries a failed message again so often, and has the broker deliver it over the next connection", async () => {
  const items = { topic: "failing", consumerID: "failing", backOffMaxRetries: "1" };
  await withBinding(items, async (binding) => {
    const tries: string[] = [];
    await binding.read?.(async ({ data }) => {
      tries.push(String(data));
      if (String(data) === "bad") throw new Error("no");
      return undefined;
    });
    await create(binding, "bad");
    await eventually("it was tried twice", () => tries.length === 2);
    await create(binding, "good");
    await eventually("the other is there", () => tries.includes("good"));
    expect(tries).toEqual(["bad", "bad", "good"]);
  });
  await withBinding(items, async (binding) => {
    const events = await read(binding);
    await eventually("it came again", () => events.length > 0);
    expect(events.map(({ data }) => String(data))).toEqual(["bad"]);
  });
});

test("goes on where it was, over a kill -9 of the broker", async () => {
  const items = { topic: "kept", consumerID: "keeper" };
  await withBinding(items, async (binding) => void (await read(binding)));
  await withBinding({ topic: "kept", awaitSave: "true" }, async (binding) => {
    await create(binding, "meanwhile");
    await server.server.kill();
  });
  await server.server.start();
  await withBinding(items, async (binding) => {
    const events = await read(binding);
    await eventually("it is there", () => events.length > 0);
    await server.server.kill();
    await server.server.start();
    await until(() => isDone(create(binding, "after")), "it is back", 30_000);
    await eventually("it is there", () => events.some(({ data }) => String(data) === "after"), 30_000);
  });
});

test("answers in time when the broker is frozen", () =>
  withBinding({ topic: "frozen", timeout: "500ms" }, async (binding) => {
    signalTree(server.server.pid, "STOP");
    const error = await create(binding, "x").catch((e) => e);
    signalTree(server.server.pid, "CONT");
    expect(error).toBeInstanceOf(ServerUnavailable);
    expect((error as ServerUnavailable).outcome).toBe("unknown");
    await until(() => isDone(create(binding, "y")), "it is back", 30_000);
  }));

test("says what it can not do", () =>
  withBinding({ topic: "in/+" }, async (binding) => {
    const wrong = await binding
      .invoke?.({ operation: "get", data: new Uint8Array(), metadata: {} })
      .catch((e: Error) => e.message);
    expect(wrong).toBe("invalid operation type: get. Expected create");
    const wild = await create(binding, "x").catch((e: Error) => e.message);
    expect(wild).toBe('"in/+" is no topic of mqtt to publish to');
    expect(() => server.options(mqtt3, {})).toThrow("topic");
    expect(() => server.options(mqtt3, { topic: "a", qos: "2" })).toThrow("qos");
  }));
