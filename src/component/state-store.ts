/** What a `state.*` component offers. Keys are full keys: prefixes, encryption and scopes are done above. */
export interface StateStore {
  readonly features: ReadonlySet<StateFeature>;
  /** `undefined` when the key is absent or expired. */
  get(request: GetRequest): Promise<StateEntry | undefined>;
  set(request: SetRequest): Promise<void>;
  delete(request: DeleteRequest): Promise<void>;
  /** Absent keys are left out. Without it the caller asks key by key. */
  bulkGet?(requests: readonly GetRequest[]): Promise<BulkEntry[]>;
  /** Not atomic. When some keys fail the others are done, and it rejects with `joinFailures` of the failed ones. */
  bulkSet?(requests: readonly SetRequest[]): Promise<void>;
  bulkDelete?(requests: readonly DeleteRequest[]): Promise<void>;
  /** All or nothing. Present exactly when the store has the feature TRANSACTIONAL. */
  transact?(operations: readonly StateOperation[], metadata: Record<string, string>): Promise<void>;
  /** The same in one commit with the check that the lease is held. Only the engine's own store can. */
  transactFenced?(
    operations: readonly StateOperation[],
    fence: { lease: string; token: number },
  ): Promise<void>;
  /** The largest transaction; absent: no limit. */
  readonly operationsMax?: number;
  /** Present exactly when the store has the feature QUERY_API. Dapr's query JSON (alpha). */
  query?(query: StateQuery, metadata: Record<string, string>): Promise<QueryResult>;
  /**
   * Deletes the keys directly below the prefix (`p||a`, not `p||q||a`) and returns how many. Present exactly when the
   * store has the feature DELETE_WITH_PREFIX.
   */
  deleteWithPrefix?(prefix: string): Promise<number>;
  /** Lists keys by a LIKE pattern. Present exactly when the store has the feature KEYS_LIKE. */
  keysLike?(request: KeysLikeRequest): Promise<KeysLikeResult>;
  close(): Promise<void>;
}

export type StateFeature =
  | "ETAG"
  | "TRANSACTIONAL"
  | "QUERY_API"
  | "TTL"
  | "DELETE_WITH_PREFIX"
  | "PARTITION_KEY"
  | "KEYS_LIKE";

export type Consistency = "eventual" | "strong" | undefined;
export type Concurrency = "first-write" | "last-write" | undefined;

export interface GetRequest {
  key: string;
  consistency?: Consistency;
  metadata: Record<string, string>;
}

export interface StateEntry {
  value: Uint8Array;
  /** Empty when the store has none. */
  etag: string;
  expiresAtMs?: number | undefined;
  contentType?: string | undefined;
}

export interface BulkEntry extends StateEntry {
  key: string;
  /** Reading this key failed. */
  error?: string;
}

export interface SetRequest {
  key: string;
  value: Uint8Array;
  /** Not empty: the stored etag must equal it, whatever `concurrency` says (dapr-api.md §7.2). */
  etag?: string | undefined;
  /** `first-write` without an etag: the key must be absent. */
  concurrency?: Concurrency;
  consistency?: Consistency;
  /** From `ttlInSeconds`; `undefined`: no expiry asked, `null`: never expires (-1). */
  ttlSeconds?: number | null | undefined;
  contentType?: string | undefined;
  metadata: Record<string, string>;
}

export interface DeleteRequest {
  key: string;
  etag?: string | undefined;
  concurrency?: Concurrency;
  metadata: Record<string, string>;
}

export type StateOperation =
  | { kind: "upsert"; request: SetRequest }
  | { kind: "delete"; request: DeleteRequest };

export interface StateQuery {
  filter?: unknown;
  sort?: { key: string; order?: "ASC" | "DESC" }[];
  page?: { limit?: number; token?: string };
  /** Only keys that begin with it; the layer above sets it to what belongs to the app. */
  keyPrefix?: string | undefined;
}

export interface QueryResult {
  results: { key: string; value: Uint8Array; etag: string }[];
  token: string;
  metadata: Record<string, string>;
}

export interface KeysLikeRequest {
  /** `%` is any text, `_` any one character; a backslash before either takes it literally. Not empty. */
  pattern: string;
  /** Absent: all. */
  limit?: number | undefined;
  /** From the page before. */
  token?: string | undefined;
}

export interface KeysLikeResult {
  keys: string[];
  /** Present when there may be more. */
  token?: string | undefined;
}

/** A key of a bulk operation that failed, and why. */
export interface KeyFailure {
  key: string;
  error: Error;
}

/** The etag given is not the stored one, or first-write found the key. Becomes 409 / ABORTED. */
export class EtagMismatch extends Error {
  /** Of a bulk operation: every key that failed. */
  failures?: readonly KeyFailure[];
  constructor(detail = "possible etag mismatch. error from state store: the etag does not match") {
    super(detail);
    this.name = "EtagMismatch";
  }
}

/** The etag text can not be one of this store. Becomes 400 / INVALID_ARGUMENT. */
export class EtagInvalid extends Error {
  /** Of a bulk operation: every key that failed. */
  failures?: readonly KeyFailure[];
  constructor(detail = "invalid etag value") {
    super(detail);
    this.name = "EtagInvalid";
  }
}

/** One error for the failed keys of a bulk operation: an etag error when one of them is, with all in `failures`. */
export function joinFailures(failures: readonly KeyFailure[]): Error & { failures?: readonly KeyFailure[] } {
  const message = failures.map(({ key, error }) => `${key}: ${error.message}`).join("\n");
  const errors = failures.map((failure) => failure.error);
  const mismatch = errors.find((error) => error instanceof EtagMismatch);
  const invalid = errors.find((error) => error instanceof EtagInvalid);
  const joined: Error = mismatch
    ? new EtagMismatch(message)
    : invalid
      ? new EtagInvalid(message)
      : new Error(message, { cause: errors[0] });
  return Object.assign(joined, { failures });
}
