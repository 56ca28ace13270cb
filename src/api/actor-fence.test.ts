import { expect, test } from "bun:test";
import {
  EtagMismatch,
  type StateEntry,
  type StateOperation,
  type StateStore,
} from "../component/state-store.ts";
import type { Fence } from "../engine/actors/engine.ts";
import { FenceRow, takeValues, transactOwned } from "./actor-fence.ts";
import { requireRoom, requireTransactions } from "./actor-store.ts";
import type { Call } from "./call.ts";
import type { StateTarget } from "./state-target.ts";

const actor = { type: "Cat", id: "tom" };
const prefix = "app||Cat||tom||";

/** A store whose next write can be held up, or answered with a failure after it was done. */
class SlowStore {
  readonly features = new Set(["ETAG", "TRANSACTIONAL"]);
  readonly values = new Map<string, StateEntry>();
  #gate: Promise<void> | undefined;
  losesAnswer = false;
  #etags = 0;

  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  async get({ key }: { key: string }): Promise<StateEntry | undefined> {
    return this.values.get(key);
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    const gate = this.#gate;
    this.#gate = undefined;
    await gate;
    for (const { kind, request } of operations) {
      const found = this.values.get(request.key)?.etag;
      const isFirst = kind === "upsert" && request.concurrency === "first-write";
      const mismatches = request.etag === undefined ? isFirst && found !== undefined : request.etag !== found;
      if (mismatches) throw new EtagMismatch();
    }
    for (const { kind, request } of operations) {
      if (kind === "delete") this.values.delete(request.key);
      else this.values.set(request.key, { value: request.value, etag: String(++this.#etags) });
    }
    if (!this.losesAnswer) return;
    this.losesAnswer = false;
    // What a policy that tries again gets to see.
    throw new EtagMismatch();
  }
}

/** A host with an activation of the actor. */
class Host {
  readonly fence: Fence;
  isHeld = true;
  isActive = true;
  readonly #row: FenceRow;

  constructor(store: SlowStore, token: number) {
    this.fence = { lease: `host-${token}`, token };
    const actors = {
      isHeld: async () => this.isHeld,
      fence: () => (this.isActive ? this.fence : { ...this.fence }),
    };
    const call = { app: { actors }, signal: new AbortController().signal } as unknown as Call;
    const target = {
      store: store as unknown as StateStore,
      run: (_operation: string, work: () => Promise<unknown>) => work(),
    } as unknown as StateTarget;
    this.#row = new FenceRow(target, call, { actor, prefix });
  }

  take(): Promise<string> {
    return takeValues(this.fence, this.#row);
  }

  put(key: string, text: string, etag?: string): Promise<string> {
    const request = { key: prefix + key, value: Buffer.from(text), metadata: {}, ...(etag ? { etag } : {}) };
    return transactOwned(this.fence, this.#row, [{ kind: "upsert", request }]).then(
      () => "done",
      (error: Error) => error.message,
    );
  }
}

const lost = "this host does not own the actor any more";
const textOf = (store: SlowStore, key = "n") =>
  Buffer.from(store.values.get(prefix + key)?.value ?? []).toString("utf8");

test("an owner writes, one transaction after the other", async () => {
  const store = new SlowStore();
  const host = new Host(store, 1);
  expect(await Promise.all([host.put("n", "1"), host.put("n", "2"), host.put("n", "3")])).toEqual([
    "done",
    "done",
    "done",
  ]);
  expect(textOf(store)).toBe("3");
});

test("a write that was under way when another host took the actor is refused", async () => {
  const store = new SlowStore();
  const [old, next] = [new Host(store, 1), new Host(store, 2)];
  expect(await old.put("n", "old")).toBe("done");
  const release = store.hold();
  const late = old.put("n", "late");
  await Bun.sleep(1);
  await next.take();
  release();
  expect(await late).toBe(lost);
  expect(textOf(store)).toBe("old");
  expect(await next.put("n", "next")).toBe("done");
  expect(await old.put("n", "later still")).toBe(lost);
  expect(textOf(store)).toBe("next");
});

test("a host that lost its lease while it took the values does not get them", async () => {
  const store = new SlowStore();
  const [old, next] = [new Host(store, 1), new Host(store, 2)];
  const release = store.hold();
  const late = old.put("n", "late");
  await Bun.sleep(1);
  old.isHeld = false;
  expect(await next.put("n", "next")).toBe("done");
  release();
  expect(await late).toBe(lost);
  expect(textOf(store)).toBe("next");
});

test("an activation that has ended does not take the values back from the next one", async () => {
  const store = new SlowStore();
  const [old, next] = [new Host(store, 1), new Host(store, 2)];
  const release = store.hold();
  const late = old.put("n", "late");
  await Bun.sleep(1);
  // It gave the actor away in good order: its lease is held.
  old.isActive = false;
  expect(await next.put("n", "next")).toBe("done");
  release();
  expect(await late).toBe(lost);
  expect(await next.put("n", "again")).toBe("done");
});

test("a transaction whose answer was lost is known to be done", async () => {
  const store = new SlowStore();
  const host = new Host(store, 1);
  await host.take();
  store.losesAnswer = true;
  expect(await host.put("n", "1")).toBe("done");
  expect(textOf(store)).toBe("1");
  // An etag of the app's own that is wrong stays its error.
  expect(await host.put("n", "2", "no such etag")).toContain("etag");
  expect(textOf(store)).toBe("1");
});

test("a store without transactions or etags, or with too small ones, is refused in Dapr's words", () => {
  const store = new SlowStore() as unknown as StateStore;
  const target = (changes: object) => ({ store: { ...store, ...changes } }) as unknown as StateTarget;
  const etagOnly = target({ features: new Set(["ETAG"]), transact: undefined });
  expect(() => requireTransactions(etagOnly)).toThrow("actors: state store does not exist or incorrectly");
  const plain = target({ features: new Set(["TRANSACTIONAL"]), transact: async () => {} });
  expect(() => requireTransactions(plain)).toThrow("actors: state store does not exist or incorrectly");
  const small = target({ operationsMax: 2 });
  expect(() => requireRoom(small, 2)).not.toThrow();
  expect(() => requireRoom(small, 3)).toThrow("the transaction contains more operations than supported");
});
