/** Does random mixed work on a store, telling its parent on stdout, until it is killed. */
import { writeSync } from "node:fs";
import { seededRandom } from "../../../src/edges/simulated.ts";
import { type Delivery, StoreConflict, StoreUnavailable } from "../../../src/engine/store/store.ts";
import { decode, openPlace } from "./home.ts";
import {
  batchSpace,
  batchTopic,
  type Entry,
  effectKey,
  effectSpace,
  groups,
  keySpace,
  ordersTopic,
} from "./journal.ts";

const [place = "", name = "", seed = "0"] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const store = await openPlace(place, 50);
const encode = (value: string): Uint8Array =>
  new TextEncoder().encode(value.padEnd(random.next() < 0.1 ? 6000 : 60, "."));
let serial = 0;
const newId = (): string => `${name}-${serial++}`;

/** Straight into the pipe: what the parent has read survives the kill. */
function tell(entry: Entry): void {
  writeSync(1, `${JSON.stringify(entry)}\n`);
}

/** A server that was killed comes back; the embedded store has no such excuse. */
async function forever(step: () => Promise<void>): Promise<never> {
  for (;;) {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || !place.startsWith("postgresql:")) throw error;
      await Bun.sleep(5);
    }
  }
}

function putLane(lane: number): Promise<void> {
  return forever(async () => {
    const key = `${name}/${lane}/${Math.floor(random.next() * 5)}`;
    const value = random.next() < 0.2 ? null : newId();
    tell({ t: "put", key, value });
    const expiresAtMs = random.next() < 0.3 ? Date.now() + 3600_000 : undefined;
    if (value === null) await store.commit([{ kind: "delete", space: keySpace, key }]);
    else await store.commit([{ kind: "put", space: keySpace, key, value: encode(value), expiresAtMs }]);
    tell({ t: "putDone", key });
  });
}

function batchLane(lane: number): Promise<void> {
  const instance = `${name}/${lane}`;
  let position: number | undefined = 0;
  return forever(async () => {
    // After an outage: what became of the last commit is read.
    const expectedLength: number = position ?? (await store.readHistory(instance, 0)).length;
    position = undefined;
    const id = newId();
    const data = encode(id);
    tell({ t: "batch", id });
    await store.commit([
      { kind: "put", space: batchSpace, key: id, value: data },
      { kind: "append", topic: batchTopic, message: { data } },
      { kind: "timerSet", space: batchSpace, id, dueAtMs: Date.now(), data },
      { kind: "history", instance, expectedLength, events: [data] },
    ]);
    tell({ t: "batchDone", id });
    // A commit that must fail, and leave nothing behind.
    const torn = store.commit([
      { kind: "put", space: batchSpace, key: `torn-${id}`, value: data },
      { kind: "append", topic: batchTopic, message: { data: encode(`torn-${id}`) } },
      { kind: "history", instance, expectedLength, events: [data] },
    ]);
    const refused = await torn.then(
      () => false,
      (error: unknown) => {
        if (error instanceof StoreUnavailable) throw error;
        return error instanceof StoreConflict;
      },
    );
    if (!refused) tell({ t: "broken", what: `the commit torn-${id} was not refused` });
    position = expectedLength + 1;
  });
}

function publishLane(lane: number): Promise<void> {
  return forever(async () => {
    const id = newId();
    tell({ t: "publish", id });
    const orderKey = random.next() < 0.3 ? `key ${lane}` : undefined;
    const notBeforeMs = random.next() < 0.1 ? Date.now() + 20 : undefined;
    await store.commit([
      { kind: "append", topic: ordersTopic, message: { data: encode(id), orderKey, notBeforeMs } },
    ]);
    tell({ t: "publishDone", id });
  });
}

function consumeLane(group: string): Promise<void> {
  return forever(async () => {
    await store.ensureGroup(ordersTopic, group, "earliest");
    const deliveries = await store.claim({
      topic: ordersTopic,
      group,
      owner: name,
      max: 16,
      leaseMs: 150,
      waitMs: 1000,
    });
    await Promise.all(deliveries.map((delivery) => handle(group, delivery)));
  });
}

async function handle(group: string, delivery: Delivery): Promise<void> {
  const id = decode(delivery.data);
  tell({ t: "deliver", group, id, claim: delivery.claim });
  if (random.next() < 0.1) return void (await store.nack(delivery, random.next() < 0.5 ? 0 : 10));
  // Handled by nobody: it comes again when its lease ends.
  if (random.next() < 0.05) return;
  tell({ t: "ack", group, id });
  try {
    const effect = { kind: "put", space: effectSpace, key: effectKey(group, id), value: encode(id) } as const;
    await store.commit([
      { kind: "ack", delivery },
      { ...effect, ifAbsent: true },
    ]);
    tell({ t: "ackDone", group, id, claim: delivery.claim });
  } catch (error) {
    if (!(error instanceof StoreConflict)) throw error;
    if (error.reason === "exists")
      tell({ t: "broken", what: `message ${id} had its effect in ${group} before` });
  }
}

function leaseLane(): Promise<void> {
  return forever(async () => {
    const leaseName = `lease ${Math.floor(random.next() * 3)}`;
    const lease = await store.acquireLease(leaseName, name, 5 + random.next() * 20);
    if (lease.held) {
      tell({ t: "lease", name: leaseName, owner: name, token: lease.token });
      if (random.next() < 0.5) await store.releaseLease(leaseName, lease.token);
    }
    await Bun.sleep(1);
  });
}

function timerLane(): Promise<void> {
  return forever(async () => {
    const timers = await store.claimTimers({
      space: "ticks",
      owner: name,
      nowMs: Date.now(),
      max: 8,
      leaseMs: 100,
    });
    for (const timer of timers) {
      // The other child may have set it anew meanwhile.
      await store.commit([{ kind: "timerDone", timer, dueAtMs: Date.now() + 5 }]).catch(passConflict);
    }
    await store.commit([
      {
        kind: "timerSet",
        space: "ticks",
        id: `${Math.floor(random.next() * 20)}`,
        dueAtMs: Date.now(),
        data: encode("t"),
      },
    ]);
  });
}

function passConflict(error: unknown): void {
  if (!(error instanceof StoreConflict)) throw error;
}

tell({ t: "ready" });
const lanes = [
  ...[0, 1, 2, 3].map(putLane),
  ...[0, 1].map(batchLane),
  ...[0, 1, 2, 3].map(publishLane),
  ...groups.map(consumeLane),
  leaseLane(),
  timerLane(),
];
await Promise.all(lanes).catch((error: unknown) => {
  tell({ t: "broken", what: `a child failed: ${String(error)}` });
  process.exit(1);
});
