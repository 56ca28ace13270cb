import { afterEach, expect, test } from "bun:test";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import redis from "../../src/components/state/redis.ts";
import { seededRandom } from "../../src/edges/simulated.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis, type TestRedis } from "../contract/redis.ts";
import { etagOf, put, rejection, textAt } from "../contract/state.ts";

const kills = Number(process.env.MECHA_TEST_ROUNDS ?? 6);
const seed = Number(process.env.MECHA_TEST_SEED ?? Math.floor(Math.random() * 1e6));
const writers = 16;

let server: TestRedis;
let store: StateStore;
afterEach(async () => {
  process.kill(server.server.pid, "SIGCONT");
  await store.close();
  await server.stop();
});

const open = async (items: Record<string, string> = {}): Promise<void> => {
  server = await startRedis();
  const options = server.options<Parameters<typeof redis.open>[0]>(redis, items);
  store = await redis.open(options, componentHost());
};

interface Writer {
  key: string;
  /** The last number that was acknowledged. */
  acknowledged: number;
  /** The last number that was sent. */
  sent: number;
}

test(`state.redis loses no acknowledged write in ${kills} times kill -9 of the server (MECHA_TEST_SEED=${seed})`, async () => {
  const random = seededRandom(seed);
  await open();
  const all: Writer[] = Array.from({ length: writers }, (_, index) => ({
    key: `w${index}`,
    acknowledged: 0,
    sent: 0,
  }));
  const outcomes = { done: 0, undone: 0, unknown: 0 };
  let isOver = false;
  const write = async (writer: Writer): Promise<void> => {
    while (!isOver) {
      const number = ++writer.sent;
      const pair = [writer.key, `${writer.key}-twin`].map((key) => ({
        kind: "upsert" as const,
        request: put(key, String(number)),
      }));
      try {
        await store.transact?.(pair, {});
        outcomes.done++;
        writer.acknowledged = number;
      } catch (error) {
        expect(error).toBeInstanceOf(ServerUnavailable);
        outcomes[(error as ServerUnavailable).outcome]++;
      }
    }
  };
  const running = Promise.all(all.map(write));
  for (let kill = 0; kill < kills; kill++) {
    const before = outcomes.done;
    await until(() => outcomes.done > before + 200, "writes go on", 60_000);
    await new Promise((done) => setTimeout(done, random.next() * 50));
    await server.server.kill();
    // Acknowledged is what the file has: the writers see to it that there is a next kill in the midst of work.
    await server.server.start();
    for (const { key, acknowledged } of all)
      expect(Number(await textAt(store, key))).toBeGreaterThanOrEqual(acknowledged);
  }
  isOver = true;
  await running;
  for (const { key, acknowledged, sent } of all) {
    const kept = Number(await textAt(store, key));
    expect(kept).toBeGreaterThanOrEqual(acknowledged);
    expect(kept).toBeLessThanOrEqual(sent);
    expect(await textAt(store, `${key}-twin`)).toBe(String(kept));
    // Nothing was sent twice: each number made one version at most.
    expect(Number(await etagOf(store, key))).toBeLessThanOrEqual(sent);
  }
  console.log(`seed ${seed}: ${kills} kills, ${JSON.stringify(outcomes)}`);
  expect(outcomes.unknown).toBeGreaterThan(0);
}, 300_000);

test("state.redis answers in time when the server is frozen, and goes on when it is back", async () => {
  await open({ readTimeout: "300", dialTimeout: "500", redisMaxRetryInterval: "50" });
  await store.set(put("key", "before"));
  process.kill(server.server.pid, "SIGSTOP");
  const write = await rejection(store.set(put("key", "meanwhile")));
  expect(write).toBeInstanceOf(ServerUnavailable);
  expect((write as ServerUnavailable).outcome).toBe("unknown");
  const late = await rejection(store.get({ key: "key", metadata: {} }));
  expect(late).toBeInstanceOf(ServerUnavailable);
  expect((late as ServerUnavailable).outcome).toBe("undone");
  process.kill(server.server.pid, "SIGCONT");
  await until(
    () =>
      store.set(put("key", "after")).then(
        () => true,
        () => false,
      ),
    "it is back",
    20_000,
  );
  expect(await textAt(store, "key")).toBe("after");
}, 60_000);

test("state.redis says that a write was not done when the server stays away, and waits for one that comes back", async () => {
  await open({ dialTimeout: "400" });
  await store.set(put("key", "1"));
  await server.server.kill();
  const error = await rejection(store.set(put("key", "2")));
  expect(error).toBeInstanceOf(ServerUnavailable);
  const waiting = Promise.allSettled(
    Array.from({ length: 50 }, () => store.get({ key: "key", metadata: {} })),
  );
  for (const result of await waiting) expect(result.status).toBe("rejected");
  await server.server.start();
  await until(
    () =>
      textAt(store, "key").then(
        (text) => text === "1",
        () => false,
      ),
    "it is back",
    20_000,
  );
}, 60_000);
