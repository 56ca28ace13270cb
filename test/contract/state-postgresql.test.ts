import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { EtagInvalid, EtagMismatch, type StateStore } from "../../src/component/state-store.ts";
import v1 from "../../src/components/state/postgresql.ts";
import v2 from "../../src/components/state/postgresql.v2.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startPostgresql, type TestPostgresql } from "./postgresql.ts";
import { bytes, etagOf, put, rejection, stateContract, textAt } from "./state.ts";

let postgresql: TestPostgresql;
beforeAll(async () => {
  // Settings that only make the tests' kills cheaper would hide what is not synced.
  postgresql = await startPostgresql();
}, 300_000);
afterAll(() => postgresql.stop());

const versions = { v1, v2 };
type Version = keyof typeof versions;

async function open(version: Version, items: Record<string, string> = {}): Promise<StateStore> {
  const definition = versions[version];
  return definition.open(postgresql.options(definition, items) as never, componentHost());
}

for (const version of ["v1", "v2"] as const) {
  stateContract(`state.postgresql ${version}`, ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"], async () => {
    await postgresql.clear();
    let store = await open(version);
    return {
      store,
      async reopen() {
        await store.close();
        await postgresql.server.kill();
        await postgresql.server.start();
        store = await open(version);
        return store;
      },
      close: () => store.close(),
    };
  });
}

async function withStore(
  version: Version,
  items: Record<string, string>,
  run: (store: StateStore) => Promise<void>,
): Promise<void> {
  await postgresql.clear();
  const store = await open(version, items);
  try {
    await run(store);
  } finally {
    await store.close();
  }
}

const json = "application/json";

describe("state.postgresql v1", () => {
  test("keeps rows as Dapr does", () =>
    withStore("v1", {}, async (store) => {
      await store.set(put("app||json", '{"id":1,"name":"x"}', { contentType: json }));
      await store.set(put("app||text", "plain"));
      await store.set(put("app||text", "changed", { ttlSeconds: 60 }));
      const rows = await postgresql.ask(
        `SELECT key, value::text, isbinary, updatedate IS NULL AS is_new, expiredate > now() AS expires, xmin::text AS etag
         FROM state ORDER BY key`,
      );
      const [first, second] = [await etagOf(store, "app||json"), await etagOf(store, "app||text")];
      expect(rows).toEqual([
        {
          key: "app||json",
          value: '{"id": 1, "name": "x"}',
          isbinary: false,
          is_new: true,
          expires: null,
          etag: first,
        },
        {
          key: "app||text",
          value: JSON.stringify(Buffer.from("changed").toString("base64")),
          ...{ isbinary: true, is_new: false, expires: true, etag: second },
        },
      ]);
      expect(await postgresql.ask("SELECT key, value FROM dapr_metadata ORDER BY key")).toEqual([
        { key: "lock", value: "lock" },
        { key: "migrations", value: "3" },
      ]);
    }));

  test("takes over tables of an older Dapr", () =>
    withStore("v2", {}, async () => {
      for (const statement of [
        "DROP TABLE state",
        "CREATE TABLE state (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, isbinary boolean NOT NULL, insertdate timestamptz NOT NULL DEFAULT now(), updatedate timestamptz)",
        `INSERT INTO state VALUES ('old', '{"b": [1.10, "x y"], "aa": null}', false), ('bytes', '"aGk="', true)`,
        "INSERT INTO dapr_metadata VALUES ('migrations', '1')",
        "ALTER TABLE state ADD expiredate timestamptz",
      ])
        await postgresql.ask(statement);
      const store = await open("v1");
      expect(await textAt(store, "old")).toBe('{"b":[1.10,"x y"],"aa":null}');
      expect(await textAt(store, "bytes")).toBe("hi");
      await store.set(put("new", "1"));
      expect((await store.keysLike?.({ pattern: "%" }))?.keys).toEqual(["bytes", "old", "new"]);
      await store.close();
    }));

  test("an etag that is no number of a transaction is invalid", () =>
    withStore("v1", {}, async (store) => {
      for (const etag of ["x", "-1", "4294967296"])
        expect(await rejection(store.set(put("key", "1", { etag })))).toBeInstanceOf(EtagInvalid);
    }));
});

describe("state.postgresql v2", () => {
  test("keeps rows as Dapr does, with a prefix", () =>
    withStore("v2", { tablePrefix: "my_", metadataTableName: "meta" }, async (store) => {
      const value = Uint8Array.of(0, 255, 10);
      await store.set({ key: "k", value, metadata: {} });
      const [row] = await postgresql.ask<{ value: Uint8Array; etag: string }>(
        "SELECT value, etag::text FROM my_state",
      );
      expect(Buffer.from(row?.value ?? []).equals(Buffer.from(value))).toBe(true);
      expect(row?.etag).toBe(await etagOf(store, "k"));
      expect(await postgresql.ask("SELECT key, value FROM meta ORDER BY key")).toEqual([
        { key: "lock", value: "lock" },
        { key: "migrations-state-v2-my_", value: "2" },
      ]);
    }));

  test("an etag that is no UUID does not match", () =>
    withStore("v2", {}, async (store) => {
      expect(await rejection(store.set(put("key", "1", { etag: "x" })))).toBeInstanceOf(EtagMismatch);
    }));

  test("tables in another schema", async () => {
    await postgresql.clear();
    await postgresql.ask("CREATE SCHEMA other");
    const store = await open("v2", { tablePrefix: "other.", metadataTableName: "other.meta" });
    await store.set(put("key", "1"));
    expect(await postgresql.ask("SELECT key FROM other.state")).toEqual([{ key: "key" }]);
    await store.close();
  });
});

describe.each(["v1", "v2"] as const)("state.postgresql %p", (version) => {
  test("many that open at once make the tables once", async () => {
    await postgresql.clear();
    const stores = await Promise.all(Array.from({ length: 8 }, () => open(version)));
    await Promise.all(stores.map((store, index) => store.set(put(`key${index}`, "1"))));
    expect((await stores[0]?.keysLike?.({ pattern: "key%" }))?.keys).toHaveLength(8);
    await Promise.all(stores.map((store) => store.close()));
  });

  test("expired rows are removed, once for all that share them", () =>
    withStore(version, { cleanupInterval: "200ms" }, async (store) => {
      await store.set(put("short", "1", { ttlSeconds: 1 }));
      await store.set(put("long", "1", { ttlSeconds: 60 }));
      const keys = () => postgresql.ask<{ key: string }>("SELECT key FROM state");
      await eventually("the expired row is gone", async () => (await keys()).length === 1);
      expect(await keys()).toEqual([{ key: "long" }]);
      const [row] = await postgresql.ask<{ key: string }>(
        "SELECT key FROM dapr_metadata WHERE key LIKE 'last-cleanup%'",
      );
      expect(row?.key).toBe(version === "v1" ? "last-cleanup" : "last-cleanup-state-v2-");
    }));

  test("transactions that block each other are tried again", () =>
    withStore(version, {}, async (store) => {
      const pair = (keys: string[], value: string) =>
        store.transact?.(
          keys.map((key) => ({ kind: "upsert" as const, request: put(key, value) })),
          {},
        );
      await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          pair(index % 2 === 0 ? ["a", "b"] : ["b", "a"], String(index)),
        ),
      );
      expect(await textAt(store, "a")).toBe((await textAt(store, "b")) ?? "");
    }));

  test("works through pools that know no prepared statements", () =>
    withStore(version, { queryExecMode: "exec", maxConns: "2" }, async (store) => {
      await store.set(put("key", "1"));
      expect(await textAt(store, "key")).toBe("1");
    }));

  test("keys that PostgreSQL can not hold are refused", () =>
    withStore(version, {}, async (store) => {
      for (const key of ["a\0b", "\ud800"]) {
        expect(String(await rejection(store.set(put(key, "1"))))).toContain("can not be kept in PostgreSQL");
        expect(String(await rejection(store.get({ key, metadata: {} })))).toContain("can not be kept");
      }
    }));

  test("says what is wrong with its metadata", async () => {
    const [field, name] = version === "v1" ? ["tableName", "a;b"] : ["tablePrefix", "a;b"];
    expect(String(await rejection(open(version, { [field as string]: name as string })))).toContain(
      "invalid identifier",
    );
    const nobody = { connectionString: "host=127.0.0.1 port=1 user=u password=secret", timeout: "1s" };
    const error = String(await rejection(open(version, nobody)));
    expect(error).toContain("failed to ping the database: u@127.0.0.1:1/u");
    expect(error).not.toContain("secret");
    expect(
      String(await rejection(open(version, { connectionString: `${postgresql.server.details.url}x` }))),
    ).toContain('database "postgresx" does not exist');
  });

  test("values come back as they were, whatever their type says", () =>
    withStore(version, {}, async (store) => {
      const values = [
        '{"b":1,"a":2}',
        '{"a":1,"a":2}',
        "[1.0,1e3,-0]",
        '"\\u0000"',
        '{"é":"\\ud800"}',
        " 1 ",
        "{",
        '"\u2028"',
      ];
      for (const value of values) {
        await store.set({ key: "key", value: bytes(value), contentType: json, metadata: {} });
        expect(await textAt(store, "key")).toBe(value);
      }
    }));
});
