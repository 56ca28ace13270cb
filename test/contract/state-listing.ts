import { expect, test } from "bun:test";
import type { StateFeature, StateStore } from "../../src/component/state-store.ts";
import { put, rejection, textAt } from "./state.ts";

/** Deleting by prefix, listing by pattern, querying. */
export function listingContract(store: () => StateStore, has: (feature: StateFeature) => boolean): void {
  if (has("DELETE_WITH_PREFIX")) prefixContract(store);
  if (has("KEYS_LIKE")) patternContract(store);
  if (has("QUERY_API")) queryContract(store);
}

/** Some at a time: of a thousand at once the last would not be answered within the timeout of a slow server. */
async function fill(store: StateStore, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 100)
    await Promise.all(keys.slice(at, at + 100).map((key) => store.set(put(key, "x"))));
}

function prefixContract(store: () => StateStore): void {
  test("deletes the direct children of a prefix", async () => {
    await fill(store(), ["p||a", "p||b", "p||q||c", "pp||d", "p"]);
    expect(await store().deleteWithPrefix?.("p||")).toBe(2);
    expect(await textAt(store(), "p||q||c")).toBe("x");
    expect(await textAt(store(), "pp||d")).toBe("x");
    expect(await store().deleteWithPrefix?.("p||q")).toBe(1);
    expect(await store().deleteWithPrefix?.("none")).toBe(0);
  });

  test.each(["", "||"])("refuses the prefix %j", async (prefix) => {
    const error = await rejection(store().deleteWithPrefix?.(prefix) ?? Promise.resolve());
    expect((error as Error).message).toBe("prefix is required");
  });
}

function patternContract(store: () => StateStore): void {
  const like = async (pattern: string) => (await store().keysLike?.({ pattern }))?.keys.sort();
  const keys = ["p||key1", "p||q||key2", "abcd", "ab%d", "ab_d", "abXYd", "other||key1"];
  const cases: [string, string[]][] = [
    ["%", keys],
    ["p||%", ["p||key1", "p||q||key2"]],
    ["%key1", ["p||key1", "other||key1"]],
    ["%||%", ["p||key1", "p||q||key2", "other||key1"]],
    ["%||%||%", ["p||q||key2"]],
    ["ab_d", ["abcd", "ab%d", "ab_d"]],
    ["ab\\%d", ["ab%d"]],
    ["ab\\_d", ["ab_d"]],
    ["ab__d", ["abXYd"]],
    ["ABCD", []],
    ["abcd", ["abcd"]],
    ["a.cd", []],
  ];
  test.each(cases)("lists the keys like %j", async (pattern, expected) => {
    await fill(store(), keys);
    expect(await like(pattern)).toEqual([...expected].sort());
  });

  test("refuses an empty pattern", async () => {
    await rejection(store().keysLike?.({ pattern: "" }) ?? Promise.resolve());
  });

  test("lists in pages that stay right when keys come and go", async () => {
    const all = Array.from({ length: 12 }, (_, index) => `page||${String(index).padStart(2, "0")}`);
    // Some list by key, some by age.
    for (const key of all) await fill(store(), [key]);
    const first = await store().keysLike?.({ pattern: "page||%", limit: 6 });
    expect(first?.keys).toEqual(all.slice(0, 6));
    await store().delete({ key: all[1] as string, metadata: {} });
    const second = await store().keysLike?.({ pattern: "page||%", limit: 5, token: first?.token });
    expect(second?.keys).toEqual(all.slice(6, 11));
    const third = await store().keysLike?.({ pattern: "page||%", limit: 5, token: second?.token });
    expect(third?.keys).toEqual(all.slice(11));
    expect(third?.token).toBeUndefined();
  });

  test("lists more than a thousand keys at once", async () => {
    await fill(
      store(),
      Array.from({ length: 1025 }, (_, index) => `many||${index}`),
    );
    expect((await store().keysLike?.({ pattern: "many||%" }))?.keys).toHaveLength(1025);
    expect((await store().keysLike?.({ pattern: "many||%", limit: 100_000 }))?.keys).toHaveLength(1025);
  });
}

function queryContract(store: () => StateStore): void {
  const people: [string, unknown][] = [
    ["1", { person: { org: "A", id: 1 }, city: "Seattle", state: "WA" }],
    ["2", { person: { org: "B", id: 2.5 }, city: "Portland", state: "OR" }],
    ["3", { person: { org: "A", id: 3 }, city: "Sacramento", state: "CA" }],
    ["4", { person: { org: "C", id: 4 }, city: "Spokane", state: "WA" }],
  ];
  const cases: [string, unknown, string[]][] = [
    ["everything", {}, ["1", "2", "3", "4"]],
    ["OR of EQ and IN", { OR: [{ EQ: { "person.org": "B" } }, { IN: { state: ["CA", "XX"] } }] }, ["2", "3"]],
    [
      "AND of EQ, GTE, LT, NEQ",
      { AND: [{ NEQ: { city: "Seattle" } }, { GTE: { "person.id": 2.5 } }, { LT: { "person.id": 4 } }] },
      ["2", "3"],
    ],
    ["GT and LTE", { AND: [{ GT: { "person.id": 1 } }, { LTE: { "person.id": 3 } }] }, ["2", "3"]],
  ];
  const seed = async () => {
    for (const [key, value] of people) await store().set(put(`app||${key}`, JSON.stringify(value)));
    await store().set(put("app||binary", "\u0001 not JSON"));
    await store().set(put("other||1", JSON.stringify(people[0]?.[1])));
  };

  test.each(cases)("finds by %s", async (_, filter, expected) => {
    await seed();
    const found = await store().query?.({ filter, keyPrefix: "app||" }, {});
    const keys = found?.results
      .map((result) => result.key.replace("app||", ""))
      .filter((key) => key !== "binary");
    expect(keys).toEqual(expected);
  });

  test("sorts and pages what it finds", async () => {
    await seed();
    const query = { filter: { IN: { state: ["WA", "OR", "CA"] } }, keyPrefix: "app||" };
    const sort = [{ key: "state", order: "DESC" as const }, { key: "person.id" }];
    const first = await store().query?.({ ...query, sort, page: { limit: 3 } }, {});
    expect(first?.results.map((result) => result.key)).toEqual(["app||1", "app||4", "app||2"]);
    const second = await store().query?.({ ...query, sort, page: { limit: 3, token: first?.token } }, {});
    expect(second?.results.map((result) => result.key)).toEqual(["app||3"]);
    expect(second?.token).toBe("");
  });

  test("refuses an operator it does not know", async () => {
    const error = await rejection(
      store().query?.({ filter: { LIKE: { city: "S%" } } }, {}) ?? Promise.resolve(),
    );
    expect((error as Error).message).toContain('"LIKE"');
  });
}
