// What every state store must do, by the features it declares (reliability.md §2.1 and its gaps).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  EtagInvalid,
  EtagMismatch,
  type KeyFailure,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateStore,
} from "../../src/component/state-store.ts";
import { eventually } from "./component-host.ts";
import { listingContract } from "./state-listing.ts";
import { transactionContract } from "./state-transactions.ts";

export interface OpenedState {
  store: StateStore;
  /** Closes the store and opens it over the same data; absent for stores that keep nothing. */
  reopen?: () => Promise<StateStore>;
  close(): Promise<void>;
}

export interface StateExceptions {
  /** A key that is written again after its deletion begins with its first etag again, as the layout has it. */
  etagsRestart?: true;
  /** Longer keys are refused, with both numbers. */
  keyLengthMax?: number;
  /** The largest value the service takes, when it is less than a megabyte. */
  valueBytesMax?: number;
  /** Keys with blanks or control characters are refused. */
  refusesBlanks?: true;
  /** The server of the tests lets two of the same etag write at one moment: a fault of its own, which the guide names. */
  serverRaces?: true;
  /** It keeps an expiry, and does not tell it. */
  hidesExpiry?: true;
}

/** Runs the suite for one store. `features`: what it must declare, exactly. */
export function stateContract(
  name: string,
  features: StateFeature[],
  open: () => Promise<OpenedState>,
  exceptions: StateExceptions = {},
): void {
  describe(name, () => {
    let opened: OpenedState;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());
    const store = () => opened.store;
    const has = (feature: StateFeature) => features.includes(feature);

    test("declares its features, and has exactly their methods", () => {
      expect([...store().features].sort()).toEqual([...features].sort());
      expect(store().transact !== undefined).toBe(has("TRANSACTIONAL"));
      expect(store().query !== undefined).toBe(has("QUERY_API"));
      expect(store().deleteWithPrefix !== undefined).toBe(has("DELETE_WITH_PREFIX"));
      expect(store().keysLike !== undefined).toBe(has("KEYS_LIKE"));
    });
    valueContract(store, exceptions);
    bulkContract(store);
    if (has("ETAG")) etagContract(store, exceptions);
    if (has("TTL")) ttlContract(store, has("ETAG"), exceptions);
    if (has("TRANSACTIONAL")) transactionContract(store);
    listingContract(store, has);
    durabilityContract(() => opened);
  });
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function put(key: string, value: string, rest: Partial<SetRequest> = {}): SetRequest {
  return { key, value: bytes(value), metadata: {}, ...rest };
}

export async function textAt(store: StateStore, key: string): Promise<string | undefined> {
  const entry = await store.get({ key, metadata: {} });
  return entry && new TextDecoder().decode(entry.value);
}

export async function etagOf(store: StateStore, key: string): Promise<string> {
  return (await store.get({ key, metadata: {} }))?.etag ?? "";
}

export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable("it should have been refused"),
    (error: unknown) => error,
  );
}

type GetStore = () => StateStore;

function valueContract(
  store: GetStore,
  { keyLengthMax, valueBytesMax, refusesBlanks }: StateExceptions,
): void {
  const values: [string, Uint8Array][] = [
    ["a number", bytes("42")],
    ["a boolean", bytes("true")],
    ["JSON", bytes('{"a":{"b":[1,"x"]}}')],
    ["a JSON text", bytes('"text"')],
    ["text that is no JSON", bytes('it\'s "quoted"; drop table')],
    ["unicode", bytes("žluťoučký 🐎")],
    ["nothing", new Uint8Array()],
    ["every byte", Uint8Array.from({ length: 256 }, (_, index) => index)],
    ["one zero byte", Uint8Array.of(0)],
    [
      valueBytesMax === undefined ? "a megabyte" : `${valueBytesMax} bytes`,
      new Uint8Array(valueBytesMax ?? 1024 * 1024).fill(0xc3),
    ],
  ];
  test.each(values)("gives back %s as it was", async (_, value) => {
    await store().set({ key: "key", value, metadata: {} });
    const entry = await store().get({ key: "key", metadata: {} });
    expect(Buffer.from(entry?.value ?? []).equals(Buffer.from(value))).toBe(true);
    expect(entry?.value).toHaveLength(value.length);
  });

  const keys = [
    "app||order-1",
    "ключ 🐎",
    "with 'quotes' \"and\" `ticks`",
    "'; DROP TABLE state; --",
    "back\\slash %like_ pattern*",
    "line\nbreak",
    "k".repeat((keyLengthMax ?? 1025) - 1),
  ];
  const hasBlank = (key: string) => /\s/.test(key);
  if (refusesBlanks)
    test.each(keys.filter(hasBlank))("refuses the key %j", async (key) => {
      const error = await rejection(store().set(put(key, "x")));
      expect(String(error)).toContain("no blanks");
    });
  test.each(keys.filter((key) => !refusesBlanks || !hasBlank(key)))("takes the key %j", async (key) => {
    await store().set(put(key, "mine"));
    await store().set(put(`${key}x`, "other"));
    expect(await textAt(store(), key)).toBe("mine");
    await store().delete({ key, metadata: {} });
    expect(await textAt(store(), key)).toBeUndefined();
    expect(await textAt(store(), `${key}x`)).toBe("other");
  });

  if (keyLengthMax !== undefined)
    test("refuses a key that is too long", async () => {
      const error = await rejection(store().set(put("k".repeat(keyLengthMax + 1), "x")));
      expect(String(error)).toMatch(new RegExp(`has ${keyLengthMax + 1} (characters|bytes)`));
      expect(String(error)).toContain(`at most ${keyLengthMax}`);
    });

  test("knows absent keys, and deletes them without complaint", async () => {
    expect(await store().get({ key: "never", metadata: {} })).toBeUndefined();
    await store().delete({ key: "never", metadata: {} });
  });

  test("keeps the last of many writes", async () => {
    for (let index = 0; index < 20; index++) await store().set(put("key", `value ${index}`));
    expect(await textAt(store(), "key")).toBe("value 19");
  });

  test("keeps what it was given when the caller's buffer changes", async () => {
    const value = bytes("before");
    await store().set({ key: "key", value, metadata: {} });
    value.fill(0);
    expect(await textAt(store(), "key")).toBe("before");
  });
}

function bulkContract(store: GetStore): void {
  test("reads many keys at once, leaving out the absent ones", async () => {
    if (!store().bulkGet) return;
    for (const key of ["a", "b", "c"]) await store().set(put(key, `value of ${key}`));
    const entries = await store().bulkGet?.(["a", "none", "c"].map((key) => ({ key, metadata: {} })));
    expect(entries?.map(({ key, value }) => [key, new TextDecoder().decode(value)]).sort()).toEqual([
      ["a", "value of a"],
      ["c", "value of c"],
    ]);
  });

  test("writes and deletes many keys at once, each for itself", async () => {
    const { bulkSet, bulkDelete } = store();
    if (!bulkSet || !bulkDelete) return;
    await store().bulkSet?.([put("a", "1"), put("b", "2"), put("c", "3")]);
    const stale = await etagOf(store(), "a");
    await store().set(put("a", "new"));
    const error = await rejection(
      store().bulkSet?.([put("a", "stale", { etag: stale }), put("b", "changed")]) ?? Promise.resolve(),
    );
    expect(error).toBeInstanceOf(EtagMismatch);
    expect(failedKeys(error)).toEqual(["a"]);
    expect([await textAt(store(), "a"), await textAt(store(), "b")]).toEqual(["new", "changed"]);
    const refused = await rejection(
      store().bulkDelete?.([
        { key: "a", etag: stale, metadata: {} },
        { key: "c", metadata: {} },
      ]) ?? Promise.resolve(),
    );
    expect(failedKeys(refused)).toEqual(["a"]);
    expect([await textAt(store(), "a"), await textAt(store(), "c")]).toEqual(["new", undefined]);
  });
}

function failedKeys(error: unknown): string[] | undefined {
  return (error as { failures?: KeyFailure[] }).failures?.map((failure) => failure.key);
}

function etagContract(store: GetStore, { etagsRestart, serverRaces }: StateExceptions): void {
  const never = etagsRestart ? "while the key lives" : "and never one twice";
  test(`gives each version an etag of its own, ${never}`, async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 5; round++) {
      await store().set(put("key", "same"));
      seen.add(await etagOf(store(), "key"));
      if (round % 2 === 1 && !etagsRestart) await store().delete({ key: "key", metadata: {} });
    }
    expect(seen.size).toBe(5);
    expect(seen.has("")).toBe(false);
  });

  test("writes and deletes with the right etag only", async () => {
    await store().set(put("key", "first"));
    const first = await etagOf(store(), "key");
    await store().set(put("key", "second", { etag: first }));
    const second = await etagOf(store(), "key");
    expect(second).not.toBe(first);
    expectEtagError(await rejection(store().set(put("key", "third", { etag: first }))));
    expectEtagError(await rejection(store().delete({ key: "key", etag: first, metadata: {} })));
    expect(await textAt(store(), "key")).toBe("second");
    await store().delete({ key: "key", etag: second, metadata: {} });
    expect(await textAt(store(), "key")).toBeUndefined();
  });

  test("refuses an etag on an absent key", async () => {
    await store().set(put("other", "x"));
    const etag = await etagOf(store(), "other");
    expectEtagError(await rejection(store().set(put("key", "x", { etag }))));
    expectEtagError(await rejection(store().delete({ key: "key", etag, metadata: {} })));
    expect(await textAt(store(), "key")).toBeUndefined();
  });

  test("compares an etag whatever the concurrency says", async () => {
    await store().set(put("key", "first"));
    const first = await etagOf(store(), "key");
    await store().set(put("key", "second"));
    const stale = put("key", "third", { etag: first, concurrency: "last-write" });
    expectEtagError(await rejection(store().set(stale)));
  });

  test("lets the first writer win when asked to, also with an empty etag", async () => {
    await store().set(put("key", "first", { concurrency: "first-write" }));
    const again = put("key", "second", { concurrency: "first-write" });
    expect(await rejection(store().set(again))).toBeInstanceOf(EtagMismatch);
    expect(await rejection(store().set({ ...again, etag: "" }))).toBeInstanceOf(EtagMismatch);
    await store().set(
      put("key", "third", { concurrency: "first-write", etag: await etagOf(store(), "key") }),
    );
    expect(await textAt(store(), "key")).toBe("third");
  });

  if (serverRaces) return;
  test("has one winner among writers with the same etag", async () => {
    await store().set(put("key", "start"));
    const etag = await etagOf(store(), "key");
    const writers = Array.from({ length: 20 }, (_, index) =>
      store().set(put("key", `writer ${index}`, { etag })),
    );
    const results = await Promise.allSettled(writers);
    const winners = results.flatMap((result, index) => (result.status === "fulfilled" ? [index] : []));
    expect(winners).toHaveLength(1);
    expect(await textAt(store(), "key")).toBe(`writer ${winners[0]}`);
  });
}

/** The text of one store's etag can be impossible in another. */
export function expectEtagError(error: unknown): void {
  expect(error instanceof EtagMismatch || error instanceof EtagInvalid).toBe(true);
}

function ttlContract(store: GetStore, hasEtags: boolean, { hidesExpiry }: StateExceptions): void {
  test("forgets a key when its time is over", async () => {
    // On a busy machine a second may be over before the key is read: it gets longer then.
    let entry: StateEntry | undefined;
    for (let ttlSeconds = 1; entry === undefined && ttlSeconds < 10; ttlSeconds *= 2) {
      await store().set(put("key", "x", { ttlSeconds }));
      entry = await store().get({ key: "key", metadata: {} });
    }
    expect(new TextDecoder().decode(entry?.value)).toBe("x");
    await eventually("the key is gone", async () => (await textAt(store(), "key")) === undefined);
    if (!hasEtags) return;
    // Gone in every respect: no etag to match, and free for a first writer.
    expectEtagError(await rejection(store().set(put("key", "y", { etag: entry?.etag ?? "" }))));
    await store().set(put("key", "z", { concurrency: "first-write" }));
    expect(await textAt(store(), "key")).toBe("z");
  });

  if (hidesExpiry) return;
  test("tells when a key expires, and only then", async () => {
    await store().set(put("limited", "x", { ttlSeconds: 3600 }));
    await store().set(put("endless", "x"));
    const expiresAtMs = (await store().get({ key: "limited", metadata: {} }))?.expiresAtMs ?? 0;
    expect(Math.abs(expiresAtMs - (Date.now() + 3_600_000))).toBeLessThan(60_000);
    expect((await store().get({ key: "endless", metadata: {} }))?.expiresAtMs).toBeUndefined();
    const bulk = await store().bulkGet?.([{ key: "limited", metadata: {} }]);
    if (bulk) expect(bulk[0]?.expiresAtMs).toBe(expiresAtMs);
  });

  test.each([undefined, null])("drops the expiry when it is written again with %p", async (ttlSeconds) => {
    await store().set(put("key", "x", { ttlSeconds: 1000 }));
    await store().set(put("key", "y", { ttlSeconds }));
    expect((await store().get({ key: "key", metadata: {} }))?.expiresAtMs).toBeUndefined();
    await store().set(put("key", "z", { ttlSeconds: 1000 }));
    expect((await store().get({ key: "key", metadata: {} }))?.expiresAtMs).toBeGreaterThan(Date.now());
  });
}

function durabilityContract(opened: () => OpenedState): void {
  test("keeps values, etags and expiries over a restart", async () => {
    const { store, reopen } = opened();
    if (!reopen) return;
    await store.set(put("key", "kept", { ttlSeconds: 3600 }));
    const before = await store.get({ key: "key", metadata: {} });
    const after = await (await reopen()).get({ key: "key", metadata: {} });
    expect(new TextDecoder().decode(after?.value)).toBe("kept");
    expect(after?.etag).toBe(before?.etag ?? "");
    expect(after?.expiresAtMs).toBe(before?.expiresAtMs);
  });
}
