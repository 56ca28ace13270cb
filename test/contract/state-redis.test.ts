import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EtagInvalid, EtagMismatch, type StateStore } from "../../src/component/state-store.ts";
import redis from "../../src/components/state/redis.ts";
import { startService } from "../services.ts";
import { componentHost } from "./component-host.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { etagOf, put, rejection, stateContract, textAt } from "./state.ts";

let server: TestRedis;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

type OpenOptions = Parameters<typeof redis.open>[0];

const open = (items: Record<string, string> = {}): Promise<StateStore> =>
  redis.open(server.options<OpenOptions>(redis, items), componentHost());

stateContract(
  "state.redis",
  ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"],
  async () => {
    await server.flush();
    let store = await open();
    return {
      store,
      async reopen() {
        await store.close();
        await server.server.kill();
        await server.server.start();
        store = await open();
        return store;
      },
      close: () => store.close(),
    };
  },
  // Dapr's layout counts the versions in the key's own hash.
  { etagsRestart: true },
);

describe("state.redis", () => {
  const withStore = async (
    items: Record<string, string>,
    run: (store: StateStore, ask: (command: string, ...values: string[]) => Promise<string>) => Promise<void>,
  ) => {
    await server.flush();
    const [store, other] = [await open(items), await server.connect()];
    const ask = async (command: string, ...values: string[]) => String(await other.write(command, ...values));
    try {
      await run(store, ask);
    } finally {
      await store.close();
      await other.close();
    }
  };

  test("writes a hash as Dapr does", () =>
    withStore({}, async (store, ask) => {
      await store.set(put("app||key", "one"));
      await store.set(put("app||key", "two"));
      expect(await ask("HGETALL", "app||key")).toBe("data,two,version,2");
      expect(await etagOf(store, "app||key")).toBe("2");
      await store.set(put("app||first", "x", { concurrency: "first-write" }));
      expect(await ask("HGETALL", "app||first")).toBe("data,x,first-write,0,version,1");
    }));

  test("reads plain texts, and writes over them", () =>
    withStore({}, async (store, ask) => {
      await ask("SET", "plain", "old");
      expect(await textAt(store, "plain")).toBe("old");
      expect(await etagOf(store, "plain")).toBe("");
      const early = put("plain", "new", { concurrency: "first-write" });
      expect(await rejection(store.set(early))).toBeInstanceOf(EtagMismatch);
      await store.set(put("plain", "new"));
      expect([await textAt(store, "plain"), await etagOf(store, "plain")]).toEqual(["new", "1"]);
      await ask("SET", "plain", "old");
      await store.delete({ key: "plain", metadata: {} });
      expect(await ask("EXISTS", "plain")).toBe("0");
    }));

  test("says so when a key holds something else", () =>
    withStore({}, async (store, ask) => {
      await ask("RPUSH", "list", "x");
      expect(String(await rejection(store.get({ key: "list", metadata: {} })))).toContain("WRONGTYPE");
    }));

  test("takes the version after a deletion in the same transaction", () =>
    withStore({}, async (store) => {
      await store.set(put("key", "x"));
      await store.set(put("key", "y"));
      await store.transact?.(
        [
          { kind: "delete", request: { key: "key", etag: "2", metadata: {} } },
          { kind: "upsert", request: put("key", "z", { concurrency: "first-write" }) },
          { kind: "upsert", request: put("key", "zz", { etag: "1" }) },
        ],
        {},
      );
      expect([await textAt(store, "key"), await etagOf(store, "key")]).toEqual(["zz", "2"]);
    }));

  test("gives keys the component's time to live, when they have none of their own", () =>
    withStore({ ttlInSeconds: "3600" }, async (store) => {
      await store.set(put("mine", "x"));
      await store.set(put("endless", "x", { ttlSeconds: null }));
      const at = async (key: string) => (await store.get({ key, metadata: {} }))?.expiresAtMs;
      expect(await at("mine")).toBeGreaterThan(Date.now() + 3_000_000);
      expect(await at("endless")).toBeUndefined();
    }));

  test("reads more keys at once than one script takes, in another database", () =>
    withStore({ redisDB: "3" }, async (store, ask) => {
      const keys = Array.from({ length: 250 }, (_, index) => `k${index}`);
      await Promise.all(keys.map((key) => store.set(put(key, key))));
      const found = await store.bulkGet?.(keys.map((key) => ({ key, metadata: {} })));
      expect(found?.map((entry) => entry.key)).toEqual(keys);
      expect(await ask("DBSIZE")).toBe("0");
    }));

  test("refuses an etag that is no version", () =>
    withStore({}, async (store) => {
      expect(await rejection(store.set(put("key", "x", { etag: "abc" })))).toBeInstanceOf(EtagInvalid);
    }));

  test("takes no more memory than a full server has, and changes nothing then", () =>
    withStore({}, async (store, ask) => {
      await store.set(put("a", "old"));
      await ask("CONFIG", "SET", "maxmemory", "1");
      const operations = ["a", "b"].map((key) => ({ kind: "upsert" as const, request: put(key, "new") }));
      const error = await rejection(store.transact?.(operations, {}) ?? Promise.resolve());
      await ask("CONFIG", "SET", "maxmemory", "0");
      expect(String(error)).toContain("OOM");
      expect([await textAt(store, "a"), await textAt(store, "b")]).toEqual(["old", undefined]);
    }));

  test("says why it can not connect", async () => {
    await expect(open({ redisHost: "127.0.0.1:1" })).rejects.toThrow(
      "error connecting to redis at 127.0.0.1:1: connect ECONNREFUSED",
    );
    const guarded = await startService("redis", { options: { requirepass: "sesame" } });
    const items = { redisHost: `127.0.0.1:${guarded.port}` };
    await expect(open(items)).rejects.toThrow("NOAUTH");
    await expect(open({ ...items, redisPassword: "wrong" })).rejects.toThrow("WRONGPASS");
    await (await open({ ...items, redisPassword: "sesame" })).close();
    await guarded.stop();
  });
});
