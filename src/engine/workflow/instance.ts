import type { OrchestrationStatus } from "../../wire/orchestrator_service_pb.js";
import { OrchestrationStatus as Status } from "../../wire/orchestrator_service_pb.js";
import type { Mutation, Store } from "../store/store.ts";
import { decodeEvent } from "./events.ts";
import { Facts } from "./facts.ts";
import { type AppName, historyName, inputSpace, recordSpace } from "./names.ts";
import { decodeRecord, encodeRecord, type InstanceRecord } from "./record.ts";

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
  /** What of it lies in a state store of the user's; an earlier execution's rows when it is new. */
  stored?: StoredRows | undefined;
}

/** The rows of an instance in a state store of the user's, as its metadata row tells. */
export interface StoredRows {
  /** Of the metadata row: it guards the next save. */
  etag: string;
  generation: number;
  historyLength: number;
  inboxLength: number;
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

/** Conflicts when the record is not the one that was read. */
export function putRecord(
  app: AppName,
  { id, etag }: Pick<Instance, "id" | "etag">,
  record: InstanceRecord,
): Mutation {
  const put = { kind: "put" as const, space: recordSpace(app), key: id, value: encodeRecord(record) };
  return etag === "" ? { ...put, ifAbsent: true } : { ...put, etag };
}

/** Inputs lie beside the record, which is rewritten at each turn. */
export function putInput(app: AppName, id: string, input: string | undefined): Mutation {
  if (input === undefined) return { kind: "delete", space: inputSpace(app), key: id };
  return { kind: "put", space: inputSpace(app), key: id, value: new TextEncoder().encode(input) };
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
