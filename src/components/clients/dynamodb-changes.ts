import { EtagMismatch, type StateOperation } from "../../component/state-store.ts";

/** What happens to one key. */
export interface Change {
  key: string;
  /** Of the item that is there before. */
  condition?: "absent" | { etag: string } | undefined;
  /** Absent: the key is deleted. */
  value?: Uint8Array;
  ttlSeconds?: number | undefined;
}

/**
 * Operations in order as one change for each key, since DynamoDB takes no more in a transaction. What a later operation
 * on a key asks for is known here already: an etag that is written in the same transaction is nobody's yet.
 */
export function changesOf(operations: readonly StateOperation[]): Change[] {
  const changes = new Map<string, Change>();
  for (const operation of operations) {
    const { key } = operation.request;
    const before = changes.get(key);
    const condition = conditionOf(operation);
    if (before !== undefined && condition !== undefined) {
      if (condition !== "absent" || before.value !== undefined) throw new EtagMismatch();
    }
    changes.set(key, {
      key,
      condition: before === undefined ? condition : before.condition,
      ...newValueOf(operation),
    });
  }
  return [...changes.values()];
}

function conditionOf({ kind, request }: StateOperation): Change["condition"] {
  if (request.etag) return { etag: request.etag };
  return kind === "upsert" && request.concurrency === "first-write" ? "absent" : undefined;
}

function newValueOf(operation: StateOperation): Pick<Change, "value" | "ttlSeconds"> {
  if (operation.kind === "delete") return {};
  const { value, ttlSeconds } = operation.request;
  // The caller's bytes may change before they are sent.
  return { value: Uint8Array.from(value), ttlSeconds: ttlSeconds ?? undefined };
}
