import { afterAll, beforeAll, expect, test } from "bun:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Binding } from "../../src/component/binding.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import nats from "../../src/components/bindings/nats.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { startNats, type TestNats } from "../contract/nats.ts";
import { rejection } from "../contract/state.ts";
import { signalTree } from "../signal-tree.ts";
import { isDone } from "./is-done.ts";

const backMs = 30_000;
const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 4);
let server: TestNats;
beforeAll(async () => {
  server = await startNats();
  const connection = await connect({ servers: server.url });
  await (await jetstreamManager(connection)).streams.add({ name: "KEPT", subjects: ["kept.>"] });
  await connection.close();
}, 120_000);
afterAll(() => server.stop());

const open = (items: Record<string, string>): Promise<Binding> =>
  nats.open(server.options(nats, { timeout: "1s", ackWait: "1s", ...items }), componentHost());

test(`loses no acknowledged message in ${kills} times kill -9 of the server`, async () => {
  const binding = await open({ subject: "kept.a", subjects: "kept.a", streamName: "KEPT" });
  const seen = new Set<string>();
  await binding.read?.(async ({ data }) => {
    seen.add(Buffer.from(data).toString());
    return undefined;
  });
  const acknowledged: string[] = [];
  let isOver = false;
  const publish = async (publisher: number): Promise<void> => {
    for (let index = 0; !isOver; index++) {
      const text = `${publisher}:${index}`;
      try {
        await binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata: {} });
        acknowledged.push(text);
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
      }
      await new Promise((next) => setTimeout(next, 2));
    }
  };
  const publishing = Promise.all([0, 1, 2, 3].map(publish));
  for (let kill = 0; kill < kills; kill++) {
    const before = acknowledged.length;
    await until(() => acknowledged.length > before + 50, "publishing goes on", backMs);
    await server.server.kill();
    await server.server.start();
  }
  const before = acknowledged.length;
  await until(() => acknowledged.length > before + 50, "publishing goes on", backMs);
  isOver = true;
  await publishing;
  const missing = () => acknowledged.filter((text) => !seen.has(text));
  await until(() => missing().length === 0, "all are there", backMs).catch(() => undefined);
  expect(missing()).toEqual([]);
  console.log(`bindings.nats: ${acknowledged.length} acknowledged over ${kills} kills, all delivered`);
  await binding.close();
}, 180_000);

test("a frozen server is a typed error in time; subjects are read again by themselves", async () => {
  const binding = await open({ subject: "live", subjects: "live" });
  const seen: string[] = [];
  await binding.read?.(async ({ data }) => void seen.push(Buffer.from(data).toString()) as undefined);
  const send = async (text: string) =>
    binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata: {} });
  await send("before");
  await until(() => seen.includes("before"), "it is there", backMs);
  signalTree(server.server.pid, "STOP");
  try {
    const errors = await Promise.all(
      Array.from({ length: 50 }, (_, index) => rejection(send(`frozen ${index}`))),
    );
    for (const error of errors) expect(error).toBeInstanceOf(ServerUnavailable);
  } finally {
    signalTree(server.server.pid, "CONT");
  }
  await until(() => isDone(send("after")), "it is back", backMs);
  await until(() => seen.includes("after"), "it is there", backMs);
  await binding.close();
}, 60_000);
