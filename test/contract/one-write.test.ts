// What components send in one turn of the event loop goes out in one write: a write costs more than what is written.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Socket } from "node:net";
import nats from "../../src/components/bindings/nats.ts";
import { NatsLink } from "../../src/components/clients/nats.ts";
import { componentHost } from "./component-host.ts";
import { startNats, type TestNats } from "./nats.ts";
import { startRedis, type TestRedis } from "./redis.ts";

let redisServer: TestRedis;
let natsServer: TestNats;
beforeAll(async () => {
  [redisServer, natsServer] = await Promise.all([startRedis(), startNats()]);
}, 240_000);
afterAll(() => Promise.all([redisServer.stop(), natsServer.stop()]), 60_000);

const sends = 100;
/** A busy machine has more than one turn for all that is due. */
const writesMax = sends / 5;

type Write = (...given: unknown[]) => void;

/** How many writes to sockets there are while it is sent so often, each time by a task of its own. */
async function writesOf(send: () => Promise<unknown>): Promise<number> {
  const sockets = Socket.prototype as unknown as { _write: Write; _writev: Write };
  const { _write, _writev } = sockets;
  let writes = 0;
  const counted = (write: Write): Write =>
    function (this: Socket, ...given) {
      writes++;
      write.apply(this, given);
    };
  Object.assign(sockets, { _write: counted(_write), _writev: counted(_writev) });
  try {
    const tasks = Array.from({ length: sends }, () => Promise.withResolvers<unknown>());
    for (const { resolve } of tasks) setTimeout(() => resolve(send()), 1);
    await Promise.all(tasks.map(({ promise }) => promise));
  } finally {
    Object.assign(sockets, { _write, _writev });
  }
  return writes;
}

test("commands to Redis", async () => {
  const redis = await redisServer.connect();
  const set = () => redis.write("SET", "key", "value");
  await set();
  const writes = await writesOf(set);
  expect(writes).toBeGreaterThan(0);
  expect(writes).toBeLessThan(writesMax);
  await redis.close();
});

test("publications to NATS, and to its streams", async () => {
  const given = natsServer.options<Parameters<typeof nats.open>[0]>(nats, { subject: "out" });
  const binding = await nats.open(given, componentHost());
  const link = await NatsLink.open(given, { ...componentHost(), isCore: false });
  await link.manager.streams.add({ name: "kept", subjects: ["kept"] });
  const data = Buffer.from("message");
  for (const send of [
    async () => binding.invoke?.({ operation: "create", data, metadata: {} }),
    () => link.publish("kept", data, {}),
  ]) {
    await send();
    const writes = await writesOf(send);
    expect(writes).toBeGreaterThan(0);
    expect(writes).toBeLessThan(writesMax);
  }
  await Promise.all([binding.close(), link.close()]);
});
