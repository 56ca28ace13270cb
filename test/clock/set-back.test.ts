// The wall clock is set back by a day: what is alive counts on from the new time, what waited waits for its time again.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedClock } from "../../src/edges/simulated.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store } from "../../src/engine/store/store.ts";

const dayMs = 24 * 3_600_000;
const leaseMs = 10_000;

let folder: string;
let clock: SimulatedClock;
let store: Store;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-set-back-"));
  clock = new SimulatedClock();
  store = await openSqliteStore({ folder, clock });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const setBack = () => clock.jump(clock.now() - dayMs);

test("a leader that lives is followed when its lease ends, not a day later", async () => {
  const held = await store.acquireLease("leader", "one", leaseMs);
  if (!held.held) throw new Error("nobody else has the lease");
  setBack();
  expect(await store.renewLease("leader", held.token, leaseMs)).toBe(true);
  clock.advance(leaseMs - 1);
  expect(await store.acquireLease("leader", "two", leaseMs)).toMatchObject({ held: false });
  clock.advance(1);
  expect(await store.acquireLease("leader", "two", leaseMs)).toMatchObject({ held: true });
});

const claim = (owner: string) =>
  store.claim({ topic: "orders", group: "shop", owner, max: 1, leaseMs, waitMs: 0 });

async function claimedByOne() {
  await store.ensureGroup("orders", "shop", "earliest");
  const message = { data: Buffer.from("order") };
  await store.commit([{ kind: "append", topic: "orders", message }]);
  const [delivery] = await claim("one");
  if (delivery === undefined) throw new Error("the message is there");
  return delivery;
}

test("a message in the hands of somebody who lives is free when the claim ends", async () => {
  const delivery = await claimedByOne();
  setBack();
  expect(await store.extend([delivery], leaseMs)).toHaveLength(1);
  clock.advance(leaseMs - 1);
  expect(await claim("two")).toEqual([]);
  clock.advance(1);
  expect(await claim("two")).toMatchObject([{ attempt: 2 }]);
});

test("a message that failed after the clock was set back is tried again after its delay", async () => {
  const delivery = await claimedByOne();
  setBack();
  expect(await store.nack(delivery, 1000)).toBe(true);
  clock.advance(999);
  expect(await claim("two")).toEqual([]);
  clock.advance(1);
  expect(await claim("two")).toMatchObject([{ attempt: 2 }]);
});

test("what the dead had claimed is free at once, messages and timers", async () => {
  await claimedByOne();
  const timer = { space: "jobs", id: "report", dueAtMs: clock.now(), data: Buffer.from("") };
  await store.commit([{ kind: "timerSet", ...timer }]);
  const request = { space: "jobs", nowMs: clock.now(), max: 1, leaseMs };
  expect(await store.claimTimers({ ...request, owner: "one" })).toHaveLength(1);
  setBack();
  expect(await claim("two")).toEqual([]);
  await store.releaseOwner("one");
  expect(await claim("two")).toMatchObject([{ attempt: 2 }]);
  // The timer waits for its own time again, which the clock has not reached.
  expect(await store.nextTimerAt("jobs")).toBeLessThanOrEqual(timer.dueAtMs);
});

test("what was delayed before waits for its moment again", async () => {
  await store.nack(await claimedByOne(), 1000);
  setBack();
  clock.advance(dayMs);
  expect(await claim("two")).toEqual([]);
  clock.advance(1000);
  expect(await claim("two")).toMatchObject([{ attempt: 2 }]);
});
