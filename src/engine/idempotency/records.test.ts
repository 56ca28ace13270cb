import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock } from "../../edges/clock.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { type Store, StoreConflict, StoreUnavailable } from "../store/store.ts";
import type { Policy } from "./policy.ts";
import { encodeKeyRecord } from "./record.ts";
import { type ClaimRequest, EffectConflict, Records, type Ticket } from "./records.ts";
import { WorkflowStartGuard } from "./start-guard.ts";

const log: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  fatal: () => {},
  scope: () => log,
};
const wish: ClaimRequest = { space: "s", key: "k", print: "p", windowMs: 60_000, waitMs: 0 };

let folder = "";
let store: Store;
const opened: Records[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecha-records-"));
  store = await openSqliteStore({ folder });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((records) => records.close()));
  await store.close();
  await rm(folder, { recursive: true });
});

function open(lease: string): Records {
  const records = new Records({ store, clock: realClock, log, lease });
  opened.push(records);
  return records;
}

async function take(records: Records, request = wish): Promise<Ticket> {
  const claimed = await records.claim(request);
  if (claimed.kind !== "mine") throw new Error(claimed.kind);
  return claimed.ticket;
}

test("of many claims at once, in two runtimes, one gets the key", async () => {
  const both = [open("a"), open("b")];
  const kinds = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => (await (both[index % 2] as Records).claim(wish)).kind),
  );
  expect(kinds.filter((kind) => kind === "mine")).toHaveLength(1);
  expect(kinds.filter((kind) => kind === "busy")).toHaveLength(19);
});

test("who waits gets what came of it, or the key when it was forgotten", async () => {
  const [a, b] = [open("a"), open("b")];
  const first = await take(a);
  const waiting = b.claim({ ...wish, waitMs: 10_000 });
  await a.forget(first);
  const taken = await waiting;
  expect(taken.kind).toBe("mine");
  const again = a.claim({ ...wish, waitMs: 10_000 });
  if (taken.kind === "mine") await b.finish(taken.ticket, { reply: { status: 200, headers: [] } });
  expect(await again).toMatchObject({ kind: "done", record: { reply: { status: 200 } } });
  expect(await a.claim({ ...wish, print: "another" })).toEqual({ kind: "other" });
});

test("what a runtime without a lease had in hand is taken over, and it can not finish it", async () => {
  const [a, b] = [open("a"), open("b")];
  const lost = await take(a);
  expect((await b.claim(wish)).kind).toBe("busy");
  await a.close();
  const taken = await take(b);
  const effects = [{ kind: "put", space: "s", key: "effect", value: new Uint8Array([1]) } as const];
  expect(await a.finish(lost, {}, { effects })).toBe(false);
  expect(await store.get("s", "effect")).toBeUndefined();
  expect(await b.finish(taken, {}, { effects })).toBe(true);
  expect(await store.get("s", "effect")).toBeDefined();
});

test("what a dead process of this machine had in hand is taken over at once", async () => {
  const dead = Bun.spawn(["true"]);
  const { processMark } = await import("../store/sqlite/process-mark.ts");
  const [boot, namespace] = processMark().split("/");
  await dead.exited;
  const running = { state: "running" as const, print: "p", mark: `${boot}/${namespace}/${dead.pid}/1` };
  await store.acquireLease("of the dead", "of the dead", 60_000);
  const value = encodeKeyRecord({ ...running, lease: "of the dead" });
  await store.commit([{ kind: "put", space: "s", key: "k", value }]);
  expect((await open("b").claim(wish)).kind).toBe("mine");
});

test("a start that a runtime died in goes on with the id that was chosen there", async () => {
  const spec = { scope: "target", fingerprint: "body", windowMs: 60_000, inFlight: "reject" };
  const policy = { name: "once", spec, keyOf: () => "k" } as unknown as Policy;
  const guardOf = (lease: string) =>
    new WorkflowStartGuard(policy, { records: open(lease), spaceOf: () => "s" });
  const created: [string, boolean][] = [];
  const create = async (...given: [string, boolean]) => void created.push(given);
  const request = { name: "w", input: "1" };
  // It dies after it has created the instance: its lease ends.
  const dying = guardOf("dies").start({ ...request, instanceId: "one" }, async (...given) => {
    created.push(given);
    await new Promise(() => {});
  });
  void dying;
  while (created.length === 0) await Bun.sleep(1);
  await expect(guardOf("b").start({ ...request, instanceId: "two" }, create)).rejects.toMatchObject({
    code: "ERR_IDEMPOTENCY_IN_FLIGHT",
  });
  const lease = await store.getLease("dies");
  await store.releaseLease("dies", lease?.token ?? 0);
  for (const instanceId of ["three", "four"]) {
    expect(await guardOf(instanceId).start({ ...request, instanceId }, create)).toBe("one");
  }
  expect(created).toEqual([
    ["one", false],
    ["one", true],
  ]);
});

test("a start whose outcome is unknown goes on with its id, one that was refused frees the key", async () => {
  const spec = { scope: "target", fingerprint: "body", windowMs: 60_000, inFlight: "reject" };
  const policy = { name: "once", spec, keyOf: () => "k" } as unknown as Policy;
  const guard = new WorkflowStartGuard(policy, { records: open("a"), spaceOf: () => "s" });
  const created: [string, boolean][] = [];
  const start = (instanceId: string, error?: Error, input = "1") =>
    guard.start({ name: "w", input, instanceId }, async (...given) => {
      created.push(given);
      if (error !== undefined) throw error;
    });
  const refused = new StoreConflict(0, "exists", "somebody else's");
  await expect(start("taken", refused)).rejects.toBe(refused);
  const unknown = new StoreUnavailable("crashed", "the connection was lost");
  await expect(start("one", unknown)).rejects.toBe(unknown);
  await expect(start("two", undefined, "2")).rejects.toMatchObject({ code: "ERR_IDEMPOTENCY_KEY_REUSED" });
  expect(await start("three")).toBe("one");
  expect(await start("four")).toBe("one");
  expect(created).toEqual([
    ["taken", false],
    ["one", false],
    ["one", true],
  ]);
});

for (const reason of ["busy", "crashed"] as const) {
  test(`a key that was claimed, forgotten or left while the store failed (${reason}) is free for other runtimes`, async () => {
    let failures = 0;
    const failing = new Proxy(store, {
      get: (_, name: keyof Store) => {
        const call = (store[name] as (...given: never[]) => unknown).bind(store);
        if (name !== "commit" || failures === 0) return call;
        return async (...given: never[]) => {
          failures -= 1;
          if (reason === "crashed") await call(...given);
          throw new StoreUnavailable(reason, "not now");
        };
      },
    });
    const a = new Records({ store: failing, clock: realClock, log, lease: "a" });
    opened.push(a);
    const b = open("b");
    const patient = { ...wish, waitMs: 10_000 };
    // Holds its lease from here on.
    await take(a, { ...wish, key: "another" });
    failures = 1;
    expect(await take(a).catch((error) => error)).toBeInstanceOf(StoreUnavailable);
    await b.forget(await take(b, patient));
    const forgotten = await take(a);
    failures = 1;
    await a.forget(forgotten);
    await b.forget(await take(b, patient));
    const left = await take(a, { ...wish, note: "id" });
    failures = 1;
    a.abandon(left);
    expect(await take(b, { ...patient, note: "other" })).toMatchObject({ isTakenOver: true, note: "id" });
  });
}

test("an effect that can not be applied is named, and leaves neither record nor other effects", async () => {
  const records = open("a");
  const ticket = await take(records);
  const value = new Uint8Array([1]);
  const effects = [
    { kind: "put", space: "s", key: "one", value },
    { kind: "put", space: "s", key: "two", value, etag: "99" },
  ] as const;
  const error = await records.finish(ticket, {}, { effects }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(EffectConflict);
  expect((error as EffectConflict).index).toBe(1);
  expect(await store.get("s", "one")).toBeUndefined();
  // Nobody has it in hand any more: the next one gets it.
  expect((await records.claim(wish)).kind).toBe("mine");
});

test("a key is new again after its window", async () => {
  const records = open("a");
  await records.finish(await take(records), {});
  await records.finish(await take(records, { ...wish, key: "short", windowMs: 1 }), {});
  await Bun.sleep(5);
  expect((await records.claim({ ...wish, key: "short" })).kind).toBe("mine");
  expect((await records.claim(wish)).kind).toBe("done");
});
