import type { OrchestrationStatus } from "../../wire/orchestrator_service_pb.js";
import { OrchestrationStatus as Status } from "../../wire/orchestrator_service_pb.js";
import type { Store } from "../store/store.ts";
import { decodeEvent } from "./events.ts";
import { Facts } from "./facts.ts";
import { type AppName, historyName, recordSpace } from "./names.ts";
import { decodeRecord, type InstanceRecord } from "./record.ts";

/** One instance as its last commit left it. */
export interface Instance {
  readonly id: string;
  record: InstanceRecord;
  etag: string;
  /** Encoded history events. */
  history: Uint8Array[];
  facts: Facts;
  bytes: number;
  /** It begins with a message of this turn: nothing of it is stored. */
  isNew?: boolean;
}

export interface StoredRecord {
  record: InstanceRecord;
  etag: string;
}

export async function readRecord(
  store: Store,
  app: AppName,
  instanceId: string,
): Promise<StoredRecord | undefined> {
  const entry = await store.get(recordSpace(app), instanceId);
  return entry && { record: decodeRecord(entry.value), etag: entry.etag };
}

/** Reads a whole instance; the etag guards whatever is decided on it. */
export async function loadInstance(
  store: Store,
  app: AppName,
  instanceId: string,
): Promise<Instance | undefined> {
  const stored = await readRecord(store, app, instanceId);
  if (stored === undefined) return undefined;
  const history = await store.readHistory(historyName(app, instanceId), 0);
  return { id: instanceId, ...stored, history, facts: factsOf(history), bytes: bytesOf(history) };
}

export function factsOf(history: readonly Uint8Array[]): Facts {
  const facts = new Facts();
  for (const bytes of history) facts.note(decodeEvent(bytes).event);
  return facts;
}

export function bytesOf(history: readonly Uint8Array[]): number {
  return history.reduce((sum, event) => sum + event.byteLength, 0);
}

/** The status of an instance that neither ended nor stalled. */
export function liveStatus(facts: Facts): OrchestrationStatus {
  if (facts.isSuspended) return Status.SUSPENDED;
  return facts.isStarted ? Status.RUNNING : Status.PENDING;
}
