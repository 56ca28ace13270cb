import { expect, test } from "bun:test";
import { EtagMismatch, type StateOperation, type StateStore } from "../../src/component/state-store.ts";
import { etagOf, put, rejection, textAt } from "./state.ts";

const upsert = (...args: Parameters<typeof put>): StateOperation => ({
  kind: "upsert",
  request: put(...args),
});
const remove = (key: string, etag?: string): StateOperation => ({
  kind: "delete",
  request: { key, etag, metadata: {} },
});

export function transactionContract(store: () => StateStore): void {
  const transact = (...operations: StateOperation[]) =>
    store().transact?.(operations, {}) ?? Promise.resolve();

  test("applies the operations of a transaction in order", async () => {
    await store().set(put("k1", "old"));
    await transact(remove("k1"), upsert("k2", "x"), remove("k2"), upsert("k3", "y"), upsert("k3", "z"));
    expect([await textAt(store(), "k1"), await textAt(store(), "k2")]).toEqual([undefined, undefined]);
    expect(await textAt(store(), "k3")).toBe("z");
  });

  test("takes a transaction that deletes an unknown key, and an empty one", async () => {
    await transact(remove("never"), upsert("key", "x"));
    expect(await textAt(store(), "key")).toBe("x");
    await transact();
  });

  test("applies nothing when one etag is wrong", async () => {
    await store().set(put("a", "old a"));
    await store().set(put("b", "old b"));
    const stale = await etagOf(store(), "b");
    await store().set(put("b", "newer b"));
    const error = await rejection(
      transact(upsert("a", "new a"), upsert("c", "new c"), upsert("b", "x", { etag: stale })),
    );
    expect(error).toBeInstanceOf(EtagMismatch);
    expect(await textAt(store(), "a")).toBe("old a");
    expect(await textAt(store(), "b")).toBe("newer b");
    expect(await textAt(store(), "c")).toBeUndefined();
  });

  test("applies nothing when a first writer came too late", async () => {
    await store().set(put("taken", "x"));
    const error = await rejection(
      transact(upsert("free", "1"), upsert("taken", "2", { concurrency: "first-write" })),
    );
    expect(error).toBeInstanceOf(EtagMismatch);
    expect(await textAt(store(), "free")).toBeUndefined();
  });

  test("compares etags of deletes in a transaction", async () => {
    await store().set(put("key", "x"));
    const etag = await etagOf(store(), "key");
    await transact(remove("key", etag), upsert("other", "y"));
    expect(await textAt(store(), "key")).toBeUndefined();
    expect(await rejection(transact(remove("key", etag)))).toBeInstanceOf(EtagMismatch);
  });

  test("keeps concurrent transactions apart", async () => {
    const pairs = Array.from({ length: 10 }, (_, index) =>
      transact(upsert("x", `${index}`), upsert("y", `${index}`)),
    );
    await Promise.all(pairs);
    expect(await textAt(store(), "x")).toBe((await textAt(store(), "y")) ?? "");
  });
}
