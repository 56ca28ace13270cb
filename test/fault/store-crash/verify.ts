import type { Store } from "../../../src/engine/store/store.ts";
import { type CrashHome, decode } from "./home.ts";
import {
  batchSpace,
  batchTopic,
  effectKey,
  effectSpace,
  groups,
  type Journal,
  keySpace,
  ordersTopic,
} from "./journal.ts";

/** Compares the store with what was promised; the faults found, in sentences. */
export async function verify(home: CrashHome, journal: Journal): Promise<string[]> {
  const problems = await home.check();
  const store = await home.open();
  try {
    const faults = [...problems, ...journal.broken];
    faults.push(...(await verifyKeys(store, journal)));
    faults.push(...(await verifyBatches(store, home, journal)));
    faults.push(...(await verifyMessages(store, home, journal)));
    return faults;
  } finally {
    await store.close();
  }
}

/** Takes every message that is left, as a consumer would, and compares again. */
export async function verifyDrained(home: CrashHome, journal: Journal): Promise<string[]> {
  const store = await home.open();
  const faults: string[] = [];
  try {
    for (const group of groups) {
      const left = await drain(store, group);
      for (const id of left.keys()) {
        if (journal.acked.get(effectKey(group, id)) === "done")
          faults.push(`${id} came to ${group} after its ack`);
      }
      for (const [id, state] of journal.published) {
        const handled = await store.get(effectSpace, effectKey(group, id));
        if (state === "done" && !handled && !left.has(id)) faults.push(`${id} never came to ${group}`);
        if (handled && left.has(id)) faults.push(`${id} came to ${group} though its effect is there`);
      }
    }
    return faults;
  } finally {
    await store.close();
  }
}

async function verifyKeys(store: Store, journal: Journal): Promise<string[]> {
  const faults: string[] = [];
  for (const [key, { known, maybe }] of journal.keys) {
    const entry = await store.get(keySpace, key);
    const found = entry ? decode(entry.value) : null;
    if (found !== known && !maybe.includes(found)) {
      faults.push(
        `key ${key} is ${found}; acknowledged was ${known}, possible ${maybe.join(", ") || "nothing else"}`,
      );
    }
    journal.found(key, found);
  }
  return faults;
}

/** Each batch is there with all four parts or with none. */
async function verifyBatches(store: Store, home: CrashHome, journal: Journal): Promise<string[]> {
  const events = await home.events();
  const messages = await home.messages(batchTopic);
  const faults: string[] = [];
  for (const [id, state] of journal.batches) {
    const key = (await store.get(batchSpace, id)) !== undefined;
    const timer = (await store.getTimer(batchSpace, id)) !== undefined;
    const parts = { key, message: messages.has(id), timer, event: events.has(id) };
    const count = Object.values(parts).filter(Boolean).length;
    if (count !== 0 && count !== 4) faults.push(`batch ${id} is torn: ${JSON.stringify(parts)}`);
    if (count === 0 && state === "done") faults.push(`batch ${id} was acknowledged and is lost`);
    if (count === 4) journal.batches.set(id, "done");
  }
  const torn = await store.list(batchSpace, { prefix: "torn-", limit: 1 });
  if (torn.length > 0 || [...messages].some((id) => id.startsWith("torn-")))
    faults.push("a refused commit left traces");
  return faults;
}

/** Each acknowledged message has had its effect in each group, or waits for it; never both. */
async function verifyMessages(store: Store, home: CrashHome, journal: Journal): Promise<string[]> {
  const faults: string[] = [];
  for (const group of groups) {
    const waiting = await home.waiting(ordersTopic, group);
    const isThere = (await store.topicStats(ordersTopic)).some((topic) =>
      topic.groups.some((other) => other.group === group),
    );
    for (const [id, state] of journal.published) {
      const handled = (await store.get(effectSpace, effectKey(group, id))) !== undefined;
      if (isThere && state === "done" && !handled && !waiting.has(id))
        faults.push(`message ${id} is lost to ${group}`);
      if (handled && waiting.has(id)) faults.push(`message ${id} waits for ${group} after its effect`);
      if (!handled && journal.acked.get(effectKey(group, id)) === "done")
        faults.push(`ack of ${id} in ${group} is lost`);
    }
  }
  return faults;
}

async function drain(store: Store, group: string): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (;;) {
    const [stats] = await store.topicStats(ordersTopic);
    const state = stats?.groups.find((other) => other.group === group);
    if (!state || state.pending + state.inFlight === 0) return seen;
    const deliveries = await store.claim({
      topic: ordersTopic,
      group,
      owner: "verify",
      max: 500,
      leaseMs: 60_000,
      waitMs: 2000,
    });
    for (const delivery of deliveries) {
      const id = decode(delivery.data);
      seen.set(id, (seen.get(id) ?? 0) + 1);
    }
    await store.commit(deliveries.map((delivery) => ({ kind: "ack", delivery })));
    if (deliveries.length === 0) throw new Error(`${group} has messages that never become ready`);
  }
}
