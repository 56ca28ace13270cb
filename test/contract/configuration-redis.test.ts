import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { RedisConnection } from "../../src/components/clients/redis.ts";
import redis from "../../src/components/configuration/redis.ts";
import { componentHost, eventually } from "./component-host.ts";
import { configurationContract } from "./configuration.ts";
import { startRedis, type TestRedis } from "./redis.ts";

let server: TestRedis;
let owner: RedisConnection;
let version = 0;
beforeAll(async () => {
  server = await startRedis();
  owner = await server.connect();
});
afterAll(async () => {
  await owner.close();
  await server.stop();
});

const open = async (metadata: Record<string, string> = {}) => {
  await server.flush();
  const items = await redis.open(server.options(redis, metadata), componentHost());
  return {
    items,
    async set(values: Record<string, string>) {
      for (const [key, value] of Object.entries(values))
        await owner.write("SET", key, `${value}||${++version}`);
    },
    delete: async (keys: string[]) => void (await owner.write("DEL", ...keys)),
    close: () => items.close(),
  };
};

configurationContract("configuration.redis", () => open());

describe("configuration.redis", () => {
  test("reads a value without a version, and no other types", async () => {
    const opened = await open();
    await owner.write("SET", "plain", "text");
    await owner.write("HSET", "hash", "data", "x");
    expect(await opened.items.get([], {})).toEqual({ plain: { value: "text", version: "", metadata: {} } });
    await opened.close();
  });

  test("is silent about keys that are no items", async () => {
    const opened = await open();
    const seen: string[] = [];
    await opened.items.subscribe([], {}, (items) => void seen.push(...Object.keys(items)));
    await owner.write("HSET", "hash", "data", "x");
    await opened.set({ last: "1" });
    await eventually("the item is told", () => seen.includes("last"));
    expect(seen).toEqual(["last"]);
    await opened.close();
  });

  test("tells of what changed while the server was away, and of what comes after", async () => {
    const opened = await open({ redisMinRetryInterval: "1000", redisMaxRetryInterval: "1000" });
    await opened.set({ kept: "1", changed: "1", gone: "1" });
    const seen: Record<string, string> = {};
    await opened.items.subscribe([], {}, (items) => {
      for (const [key, { value }] of Object.entries(items)) seen[key] = value;
    });
    await server.server.kill();
    await server.server.start();
    // The component comes back half a second later.
    await owner.write("SET", "changed", "2||9");
    await owner.write("DEL", "gone");
    await eventually("the changes are told", () => seen.changed === "2" && seen.gone === "");
    await opened.set({ fresh: "3" });
    await eventually("the next is told", () => seen.fresh === "3");
    expect(seen.kept).toBeUndefined();
    await opened.close();
  });
});
