import type {
  BulkEntry,
  GetRequest,
  KeysLikeRequest,
  KeysLikeResult,
  StateEntry,
  StateOperation,
} from "../../component/state-store.ts";

/** The user's own state store, as workflows use it: a component with `actorStateStore`, behind its policies. */
export interface InstanceStore {
  /** The component's name. */
  readonly name: string;
  /** The largest transaction; absent: no limit. */
  readonly operationsMax: number | undefined;
  get(request: GetRequest): Promise<StateEntry | undefined>;
  bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]>;
  /** All or nothing. Rejects with `EtagMismatch`. */
  transact(operations: readonly StateOperation[], metadata: Record<string, string>): Promise<void>;
  /** Absent: it can not list. */
  keysLike: ((request: KeysLikeRequest) => Promise<KeysLikeResult>) | undefined;
}
