import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EtagMismatch, type StateStore } from "../../src/component/state-store.ts";
import mysql from "../../src/components/state/mysql.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startMysql, type TestMysql } from "./mysql.ts";
import { etagOf, put, rejection, stateContract, textAt } from "./state.ts";

let server: TestMysql;
beforeAll(async () => {
  server = await startMysql();
}, 300_000);
afterAll(() => server.stop(), 60_000);

const open = (items: Record<string, string> = {}): Promise<StateStore> =>
  mysql.open(server.options(mysql, items), componentHost());

const contract = ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"] as const;
const openContract = async () => {
  await server.clear();
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
};
stateContract("state.mysql", [...contract], openContract, { keyLengthMax: 255 });

const json = "application/json";

describe("state.mysql", () => {
  const withStore = async (items: Record<string, string>, run: (store: StateStore) => Promise<void>) => {
    await server.clear();
    const store = await open(items);
    try {
      await run(store);
    } finally {
      await store.close();
    }
  };

  test("keeps rows as Dapr does", () =>
    withStore({ tableName: "my", metadataTableName: "meta" }, async (store) => {
      await store.set(put("app||json", '{"id":1,"name":"x"}', { contentType: json }));
      await store.set(put("app||text", "plain", { ttlSeconds: 60 }));
      const rows = await server.ask(
        "SELECT id, value, isbinary, eTag, expiredate > now() AS expires FROM dapr_state_store.my ORDER BY id",
      );
      expect(rows).toEqual([
        {
          ...{ id: "app||json", value: '{"id":1,"name":"x"}', isbinary: 0, expires: null },
          eTag: await etagOf(store, "app||json"),
        },
        {
          ...{ id: "app||text", isbinary: 1, expires: 1, eTag: await etagOf(store, "app||text") },
          value: JSON.stringify(Buffer.from("plain").toString("base64")),
        },
      ]);
    }));

  test("takes over a table of an older Dapr, and says when its keys know no case", () =>
    withStore({}, async () => {
      for (const statement of [
        "DROP TABLE dapr_state_store.state",
        `CREATE TABLE dapr_state_store.state (id VARCHAR(255) NOT NULL PRIMARY KEY, value JSON NOT NULL, isbinary BOOLEAN NOT NULL,
         insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
         updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, eTag VARCHAR(36) NOT NULL)
         CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`,
        `INSERT INTO dapr_state_store.state (id, value, isbinary, eTag) VALUES ('old', '{"b": [1.10, "x y"]}', 0, 'e1'), ('bytes', '"aGk="', 1, 'e2')`,
      ])
        await server.ask(statement);
      const warnings: string[] = [];
      const { log, ...host } = componentHost();
      const noting = { ...log, warn: (_: object, text: string) => void warnings.push(text) };
      const store = await mysql.open(server.options(mysql), { ...host, log: noting });
      expect(warnings.join()).toContain("that differ only in case are one key");
      expect(await textAt(store, "old")).toBe('{"b":[1.10,"x y"]}');
      expect([await textAt(store, "bytes"), await etagOf(store, "bytes")]).toEqual(["hi", "e2"]);
      await store.set(put("new", "1", { ttlSeconds: 60 }));
      expect((await store.keysLike?.({ pattern: "%" }))?.keys.sort()).toEqual(["bytes", "new", "old"]);
      await store.close();
    }));

  test("keeps keys apart that differ in case, or in blanks at the end", () =>
    withStore({}, async (store) => {
      for (const key of ["a", "A", "a ", "á"]) await store.set(put(key, key));
      for (const key of ["a", "A", "a ", "á"]) expect(await textAt(store, key)).toBe(key);
    }));

  test("keys and values are no SQL", () =>
    withStore({}, async (store) => {
      for (const evil of ["'; DROP TABLE state; --", "\\' OR 1=1 -- ", "`x`"]) {
        await store.set(put(evil, evil));
        expect(await textAt(store, evil)).toBe(evil);
        await store.delete({ key: evil, metadata: {} });
        expect(await textAt(store, evil)).toBeUndefined();
      }
    }));

  test("an etag that is no UUID does not match", () =>
    withStore({}, async (store) => {
      expect(await rejection(store.set(put("key", "1", { etag: "x" })))).toBeInstanceOf(EtagMismatch);
    }));

  test("many that open at once make the tables once", async () => {
    await server.clear();
    const stores = await Promise.all(Array.from({ length: 8 }, () => open()));
    await Promise.all(stores.map((store, index) => store.set(put(`key${index}`, "1"))));
    expect((await stores[0]?.keysLike?.({ pattern: "key%" }))?.keys).toHaveLength(8);
    await Promise.all(stores.map((store) => store.close()));
  });

  test("expired rows are removed", () =>
    withStore({ cleanupInterval: "200ms" }, async (store) => {
      await store.set(put("short", "1", { ttlSeconds: 1 }));
      await store.set(put("long", "1", { ttlSeconds: 60 }));
      const keys = () => server.ask<{ id: string }>("SELECT id FROM dapr_state_store.state");
      await eventually("the expired row is gone", async () => (await keys()).length === 1);
      expect(await keys()).toEqual([{ id: "long" }]);
    }));

  test("transactions that block each other are tried again", () =>
    withStore({}, async (store) => {
      const pair = (keys: string[], value: string) =>
        store.transact?.(
          keys.map((key) => ({ kind: "upsert" as const, request: put(key, value) })),
          {},
        );
      const pairs = [
        ["a", "b"],
        ["b", "a"],
      ] as const;
      await Promise.all(
        Array.from({ length: 60 }, (_, index) => pair([...(pairs[index % 2] ?? pairs[0])], String(index))),
      );
      expect(await textAt(store, "a")).toBe((await textAt(store, "b")) ?? "");
    }));

  test("says what is wrong with its metadata, and why it can not connect", async () => {
    const items: Record<string, string>[] = [
      { tableName: "a;b" },
      { connectionString: "nonsense" },
      { connectionString: "root@tcp(127.0.0.1:1)/" },
      { connectionString: server.url.replace("root@", "root:wrong@") },
      { connectionString: `${server.url}?tls=maybe` },
      { connectionString: `${server.url}?foo=1` },
      { pemPath: "/nowhere.pem" },
    ];
    const messages = await Promise.all(
      items.map((one) => open({ timeoutInSeconds: "1", ...one }).catch((e: Error) => e.message)),
    );
    expect(messages).toEqual([
      'tableName "a;b" must be letters, digits and underscores, at most 64',
      "connectionString is neither user:password@tcp(host:port)/database nor mysql://…",
      expect.stringContaining("error connecting to mysql at 127.0.0.1:1: connect ECONNREFUSED"),
      expect.stringContaining("Access denied"),
      "tls=maybe in connectionString: expected true, false, skip-verify or custom",
      "connectionString has an unknown parameter foo",
      expect.stringContaining('pemPath "/nowhere.pem" can not be read'),
    ]);
  });
});
