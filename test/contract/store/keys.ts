import { describe, expect, test } from "bun:test";
import { bytes, conflictOf, type StoreHome, text, withStore } from "./harness.ts";

const put = (key: string, value: string, more: object = {}) =>
  ({ kind: "put", space: "s", key, value: bytes(value), ...more }) as const;

export function keyContract(makeHome: () => Promise<StoreHome>): void {
  describe("keys", () => {
    test(
      "gives back what was put",
      withStore(makeHome, async ({ store }) => {
        const [outcome] = await store.commit([put("k", "v", { contentType: "text/plain" })]);
        const entry = await store.get("s", "k");
        expect(text(entry?.value)).toBe("v");
        expect(entry?.contentType).toBe("text/plain");
        expect(entry?.etag).toBe(outcome?.etag as string);
        expect(await store.get("other", "k")).toBeUndefined();
      }),
    );

    test(
      "tells an empty value from a missing one",
      withStore(makeHome, async ({ store }) => {
        await store.commit([put("empty", "")]);
        expect((await store.get("s", "empty"))?.value.byteLength).toBe(0);
        expect(await store.get("s", "missing")).toBeUndefined();
      }),
    );

    test(
      "keeps keys of any characters and large values apart",
      withStore(makeHome, async ({ store }) => {
        const keys = [
          "ü",
          "日本",
          "😀",
          "a'b\";--",
          "a\0b",
          "a\nb",
          "a%b",
          "a_b",
          "x||y",
          "k".repeat(1024),
          " ",
        ];
        const large = new Uint8Array(5 * 1024 * 1024).map((_, index) => index * 7);
        await store.commit(keys.map((key) => put(key, key)));
        await store.commit([{ kind: "put", space: "s", key: "large", value: large }]);
        for (const key of keys) expect(text((await store.get("s", key))?.value)).toBe(key);
        expect(Bun.hash((await store.get("s", "large"))?.value ?? "")).toBe(Bun.hash(large));
      }),
    );

    test(
      "stores only the bytes of a view into a larger buffer",
      withStore(makeHome, async ({ store }) => {
        const whole = bytes("0123456789");
        await store.commit([{ kind: "put", space: "s", key: "k", value: whole.subarray(2, 5) }]);
        expect(text((await store.get("s", "k"))?.value)).toBe("234");
      }),
    );

    test(
      "changes the etag with each put, and never gives one twice",
      withStore(makeHome, async ({ store }) => {
        const seen = new Set<string>();
        for (let round = 0; round < 5; round++) {
          const [outcome] = await store.commit([put("k", "same")]);
          seen.add(outcome?.etag ?? "");
          if (round % 2) await store.commit([{ kind: "delete", space: "s", key: "k" }]);
        }
        expect(seen.size).toBe(5);
      }),
    );

    test(
      "put with an etag needs the current one",
      withStore(makeHome, async ({ store }) => {
        const [first] = await store.commit([put("k", "1")]);
        await store.commit([put("k", "2", { etag: first?.etag })]);
        expect(await conflictOf(store.commit([put("k", "3", { etag: first?.etag })]))).toEqual({
          index: 0,
          reason: "etag",
        });
        expect(await conflictOf(store.commit([put("none", "3", { etag: "1" })]))).toEqual({
          index: 0,
          reason: "etag",
        });
        expect(await conflictOf(store.commit([put("k", "3", { etag: "no number" })]))).toEqual({
          index: 0,
          reason: "etag",
        });
        expect(text((await store.get("s", "k"))?.value)).toBe("2");
        await store.commit([put("k", "4", { etag: "" })]);
      }),
    );

    test(
      "put with ifAbsent needs absence",
      withStore(makeHome, async ({ store }) => {
        await store.commit([put("k", "1", { ifAbsent: true })]);
        expect(await conflictOf(store.commit([put("k", "2", { ifAbsent: true })]))).toEqual({
          index: 0,
          reason: "exists",
        });
        expect(text((await store.get("s", "k"))?.value)).toBe("1");
      }),
    );

    test(
      "of many writers with one etag exactly one wins",
      withStore(makeHome, async ({ store, another }) => {
        const [first] = await store.commit([put("k", "0")]);
        const stores = [store, await another()];
        const tries = Array.from({ length: 40 }, (_, index) =>
          stores[index % 2]?.commit([put("k", String(index), { etag: first?.etag })]),
        );
        const results = await Promise.allSettled(tries);
        expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(1);
      }),
    );

    test(
      "delete tells what was there and honours its conditions",
      withStore(makeHome, async ({ store }) => {
        const [first] = await store.commit([put("k", "1")]);
        const wrong = store.commit([{ kind: "delete", space: "s", key: "k", etag: `${first?.etag}0` }]);
        expect(await conflictOf(wrong)).toEqual({ index: 0, reason: "etag" });
        expect(await store.commit([{ kind: "delete", space: "s", key: "k", etag: first?.etag }])).toEqual([
          { existed: true },
        ]);
        expect(await store.commit([{ kind: "delete", space: "s", key: "k" }])).toEqual([{ existed: false }]);
        const demanding = store.commit([{ kind: "delete", space: "s", key: "k", mustExist: true }]);
        expect(await conflictOf(demanding)).toEqual({ index: 0, reason: "absent" });
      }),
    );

    test(
      "a commit applies all or nothing, in order",
      withStore(makeHome, async ({ store }) => {
        await store.commit([put("k1", "1"), { kind: "delete", space: "s", key: "k1" }, put("k2", "2")]);
        expect(await store.get("s", "k1")).toBeUndefined();
        const failing = store.commit([
          put("k3", "3"),
          { kind: "delete", space: "s", key: "k2" },
          put("k4", "4", { etag: "9" }),
        ]);
        expect(await conflictOf(failing)).toEqual({ index: 2, reason: "etag" });
        expect(await store.get("s", "k3")).toBeUndefined();
        expect(text((await store.get("s", "k2"))?.value)).toBe("2");
      }),
    );

    test(
      "a commit that conflicts does not touch those written beside it",
      withStore(makeHome, async ({ store }) => {
        const results = await Promise.allSettled([
          store.commit([put("a", "1")]),
          store.commit([put("b", "1"), put("b2", "1", { etag: "1" })]),
          store.commit([put("c", "1")]),
        ]);
        expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
        expect((await store.getMany("s", ["a", "b", "b2", "c"])).map((entry) => entry.key)).toEqual([
          "a",
          "c",
        ]);
      }),
    );

    test(
      "an empty commit succeeds",
      withStore(makeHome, async ({ store }) => {
        expect(await store.commit([])).toEqual([]);
      }),
    );

    test(
      "expired entries are gone at once, for conditions too",
      withStore(makeHome, async ({ store, clock }) => {
        const expiresAtMs = clock.now() + 1000;
        const [first] = await store.commit([put("k", "1", { expiresAtMs })]);
        expect((await store.get("s", "k"))?.expiresAtMs).toBe(expiresAtMs);
        clock.advance(1000);
        expect(await store.get("s", "k")).toBeUndefined();
        expect(await store.list("s", { limit: 10 })).toEqual([]);
        expect(await store.getMany("s", ["k"])).toEqual([]);
        expect(await conflictOf(store.commit([put("k", "2", { etag: first?.etag })]))).toEqual({
          index: 0,
          reason: "etag",
        });
        expect(await store.commit([put("k", "3", { ifAbsent: true })])).toHaveLength(1);
        expect((await store.get("s", "k"))?.expiresAtMs).toBeUndefined();
      }),
    );

    test(
      "deleting an expired entry says there was none",
      withStore(makeHome, async ({ store, clock }) => {
        await store.commit([put("k", "1", { expiresAtMs: clock.now() + 1 })]);
        clock.advance(2);
        expect(await store.commit([{ kind: "delete", space: "s", key: "k" }])).toEqual([{ existed: false }]);
      }),
    );

    test(
      "lists by prefix in key order, page by page",
      withStore(makeHome, async ({ store }) => {
        const names = ["a", "a||1", "a||2", "a||3", "a|", "b", "aé", "a\u{10ffff}x"];
        await store.commit(names.map((name) => put(name, name)));
        const page = async (after?: string) =>
          (await store.list("s", { prefix: "a||", limit: 2, after })).map((entry) => entry.key);
        expect(await page()).toEqual(["a||1", "a||2"]);
        expect(await page("a||2")).toEqual(["a||3"]);
        expect(await page("a||3")).toEqual([]);
        expect(await store.list("s", { prefix: "a\u{10ffff}", limit: 9 })).toHaveLength(1);
        expect(await store.list("s", { limit: 100 })).toHaveLength(names.length);
        expect(await store.list("other", { limit: 100 })).toEqual([]);
      }),
    );

    test(
      "deletes by prefix exactly",
      withStore(makeHome, async ({ store }) => {
        await store.commit(["test", "test-1", "test||1", "test||2", "tesu"].map((name) => put(name, "v")));
        const [outcome] = await store.commit([{ kind: "deletePrefix", space: "s", prefix: "test||" }]);
        expect(outcome).toEqual({ existed: true, count: 2 });
        expect((await store.list("s", { limit: 9 })).map((entry) => entry.key)).toEqual([
          "test",
          "test-1",
          "tesu",
        ]);
      }),
    );

    test(
      "getMany leaves out what is absent",
      withStore(makeHome, async ({ store }) => {
        await store.commit([put("a", "1"), put("c", "3")]);
        expect((await store.getMany("s", ["a", "b", "c"])).map((entry) => entry.key)).toEqual(["a", "c"]);
        expect(await store.getMany("s", [])).toEqual([]);
      }),
    );

    test(
      "counts what it holds",
      withStore(makeHome, async ({ store }) => {
        await store.commit([put("a", "1"), put("b", "1")]);
        expect(await store.stats()).toMatchObject({ keys: 2, messages: 0, timers: 0 });
        expect((await store.stats()).bytesOnDisk).toBeGreaterThan(0);
      }),
    );
  });
}
