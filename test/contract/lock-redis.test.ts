import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import redis from "../../src/components/lock/redis.ts";
import { componentHost } from "./component-host.ts";
import { lockContract } from "./lock.ts";
import { startRedis, type TestRedis } from "./redis.ts";

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const open = () => redis.open(server.options(redis), componentHost());

lockContract("lock.redis", async () => {
  await server.flush();
  const locks = await open();
  return { locks, close: () => locks.close() };
});

describe("lock.redis", () => {
  test("is one lock for all runtimes, a text with a time to live as Dapr has it", async () => {
    await server.flush();
    const [one, other, look] = [await open(), await open(), await server.connect()];
    expect(await one.tryLock("lock||orders", "me", 30)).toBePositive();
    expect(await other.tryLock("lock||orders", "you", 30)).toBeUndefined();
    expect(String(await look.read("GET", "lock||orders"))).toBe("me");
    expect(Number(await look.read("TTL", "lock||orders"))).toBeGreaterThan(20);
    for (const each of [one, other, look]) await each.close();
  });
});
