import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { StateStore } from "../../src/component/state-store.ts";
import etcd from "../../src/components/state/etcd.ts";
import etcdV2 from "../../src/components/state/etcd.v2.ts";
import { componentHost } from "./component-host.ts";
import { startEtcd, type TestEtcd } from "./etcd.ts";
import { put, rejection, stateContract, textAt } from "./state.ts";

let server: TestEtcd;
beforeAll(async () => {
  server = await startEtcd();
}, 300_000);
afterAll(() => server.stop());

for (const [version, definition] of [
  ["v1", etcd],
  ["v2", etcdV2],
] as const) {
  const name = `state.etcd ${version}`;
  const open = (items: Record<string, string> = {}): Promise<StateStore> =>
    definition.open(server.options(definition, items), componentHost());
  let rounds = 0;
  const openContract = async () => {
    const own = { keyPrefixPath: `${version}-${rounds++}` };
    let store = await open(own);
    return {
      store,
      async reopen() {
        await store.close();
        await server.server.kill();
        await server.server.start();
        store = await open(own);
        return store;
      },
      close: () => store.close(),
    };
  };
  const exceptions = version === "v1" ? { hidesExpiry: true as const } : {};
  stateContract(name, ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"], openContract, exceptions);

  describe(name, () => {
    test("keeps keys and values as Dapr does", async () => {
      const store = await open({ keyPrefixPath: "dapr" });
      await store.set(put("app||key", "value", { ttlSeconds: 100 }));
      const [entry] = await server.entries("dapr/app||key");
      const kept = Buffer.from(entry?.value ?? "", "base64");
      if (version === "v1") expect(kept.toString()).toBe("value");
      else {
        // The value, a moment of 8 to 13 bytes, and 100 seconds.
        expect(kept.subarray(0, 7).toString("latin1")).toBe("\x0a\x05value");
        expect(kept[7]).toBe(0x12);
        const rest = kept.subarray(9 + (kept[8] as number));
        expect([...rest.subarray(0, 4)]).toEqual([0x1a, rest.length - 2, 0x08, 100]);
      }
      expect(Number(entry?.lease)).toBeGreaterThan(0);
      await store.close();
    });

    test("of several operations on a key the last is done, and the first is compared", async () => {
      const store = await open({ keyPrefixPath: `several-${version}` });
      const upsert = (...args: Parameters<typeof put>) => ({
        kind: "upsert" as const,
        request: put(...args),
      });
      const remove = (key: string) => ({ kind: "delete" as const, request: { key, metadata: {} } });
      await store.set(put("key", "old"));
      const isFirst = { concurrency: "first-write" as const };
      await store.transact?.([remove("key"), upsert("key", "new", isFirst)], {});
      expect(await textAt(store, "key")).toBe("new");
      for (const second of [upsert("key", "c", isFirst), upsert("key", "c", { etag: "1" })]) {
        const error = await rejection(store.transact?.([upsert("key", "b"), second], {}) as Promise<void>);
        expect((error as Error).name).toBe("EtagMismatch");
      }
      expect(await textAt(store, "key")).toBe("new");
      await store.close();
    });

    test("takes as many operations as maxTxnOps says, and refuses etags that are none", async () => {
      const store = await open({ maxTxnOps: "100" });
      expect(store.operationsMax).toBe(100);
      for (const etag of ["x", "0", "-1", "1e3"]) {
        const error = await rejection(store.set(put("key", "x", { etag })));
        expect(String(error)).toContain("EtagInvalid");
      }
      expect(String(await rejection(store.set(put("\ud800", "x"))))).toContain("surrogate");
      await store.close();
    });
  });
}

test("state.etcd v2 reads what Dapr has written: a time to live of 0 is none", async () => {
  // Value{data: "1", ts: {seconds: 1700000000}, ttl: {}}
  const bytes = Buffer.from("0a0131120608 80e2cfaa06 1a00".replaceAll(" ", ""), "hex");
  await server.put("/dapr", bytes);
  const store = await etcdV2.open(server.options(etcdV2), componentHost());
  const entry = await store.get({ key: "dapr", metadata: {} });
  expect(Buffer.from(entry?.value ?? []).toString()).toBe("1");
  expect(entry?.expiresAtMs).toBeUndefined();
  await store.close();
});
