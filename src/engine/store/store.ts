/**
 * What outlives a request: one durable store of domain verbs, not of SQL.
 *
 * Two homes implement it (`sqlite.ts` now, PostgreSQL later) and pass one contract suite. A promise returned by a
 * writing verb resolves only after the commit that holds the write is synced to disk. All writes of one tick share
 * one transaction and one fsync. Times are milliseconds since the epoch.
 */
export interface Store {
  /** Reads one key; `undefined` when absent or expired. */
  get(space: string, key: string): Promise<KeyEntry | undefined>;
  /** Reads many keys of one space; absent ones are left out. */
  getMany(space: string, keys: readonly string[]): Promise<KeyEntry[]>;
  /** Lists entries by key prefix in key order, a bounded page at a time. */
  list(space: string, options: ListOptions): Promise<KeyEntry[]>;

  /**
   * Applies all mutations or none. Rejects with `StoreConflict` naming the first mutation that could not apply.
   * Outcomes are in the order of the mutations.
   */
  commit(mutations: readonly Mutation[]): Promise<Outcome[]>;

  /** Creates the consumer group if it does not exist. A new group starts at `from`. */
  ensureGroup(topic: string, group: string, from: "earliest" | "latest"): Promise<void>;
  deleteGroup(topic: string, group: string): Promise<void>;
  /**
   * Leases up to `max` messages of a topic to `owner`, oldest first, skipping those in flight, delayed or expired.
   * Messages with the same `orderKey` are never in flight twice at once. Waits up to `waitMs` for the first message.
   * Rejects with `StoreConflict` "absent" when the group does not exist. When `signal` aborts, what was claimed
   * meanwhile is given back untried and the answer is empty.
   */
  claim(request: ClaimRequest): Promise<Delivery[]>;
  /** Gives a message back: it is claimable again after `delayMs`. Stale tokens are ignored (returns false). */
  nack(delivery: DeliveryToken, delayMs: number, options?: NackOptions): Promise<boolean>;
  /** Prolongs the lease of messages still being handled. Returns those still owned. */
  extend(deliveries: readonly DeliveryToken[], leaseMs: number): Promise<DeliveryToken[]>;
  /** Counts for metrics and the CLI. */
  topicStats(topic?: string): Promise<TopicStats[]>;

  /** Leases up to `max` timers due at `nowMs`, oldest first, to `owner`. Finished by a `timerDone` mutation. */
  claimTimers(request: ClaimTimersRequest): Promise<Timer[]>;
  /** Gives back what an owner has claimed, messages and timers: for one that never got the answer to its claim. */
  releaseOwner(owner: string): Promise<void>;
  /** When the next timer of the space can be claimed: it is due, or the lease of its claim ends. `undefined`: none. */
  nextTimerAt(space: string): Promise<number | undefined>;
  getTimer(space: string, id: string): Promise<Timer | undefined>;
  listTimers(space: string, options: ListOptions): Promise<Timer[]>;

  /** Reads history events of an instance from index `from` (0-based). */
  readHistory(instance: string, from: number): Promise<Uint8Array[]>;

  /** Takes or re-takes a lease. The token grows by each change of owner (fencing). */
  acquireLease(name: string, owner: string, ttlMs: number): Promise<LeaseResult>;
  renewLease(name: string, token: number, ttlMs: number): Promise<boolean>;
  releaseLease(name: string, token: number): Promise<boolean>;
  getLease(name: string): Promise<Lease | undefined>;

  /**
   * Calls `listener` after commits (of any process that shares the store) that touch the channel: `topic:<name>`,
   * `keys:<space>`, `timers:<space>`, `lease:<name>`. A feed is a hint: it may fire without a change, and within
   * one second it never misses one. `isOwn`: a commit through this store made it fire, and its promise has resolved.
   * Returns the unsubscribe function.
   */
  watch(channel: string, listener: FeedListener): () => void;

  /** Live keys, messages, timers, file size, schema version: for `mecha store check` and metrics. */
  stats(): Promise<StoreStats>;
  close(): Promise<void>;
}

export type FeedListener = (isOwn: boolean) => void;

export interface KeyEntry {
  key: string;
  value: Uint8Array;
  etag: string;
  /** Absent: never expires. */
  expiresAtMs?: number;
  /** MIME type of the value as the writer gave it; empty when unknown. */
  contentType: string;
}

export interface ListOptions {
  prefix?: string;
  /** Exclusive: the last key of the page before. */
  after?: string;
  limit: number;
}

export type Mutation =
  | PutMutation
  | { kind: "delete"; space: string; key: string; etag?: string | undefined; mustExist?: boolean }
  | { kind: "deletePrefix"; space: string; prefix: string }
  | { kind: "append"; topic: string; message: NewMessage }
  /** Conflicts ("claim") when the claim was lost: the message was claimed again, dropped, or is done. */
  | { kind: "ack"; delivery: DeliveryToken }
  /** Acks a delivery and appends its message to another topic in the same commit. */
  | { kind: "deadLetter"; delivery: DeliveryToken; topic: string; message: NewMessage }
  | { kind: "timerSet"; space: string; id: string; dueAtMs: number; data: Uint8Array; ifAbsent?: boolean }
  | { kind: "timerDelete"; space: string; id: string }
  /** Ends a claimed timer; with `dueAtMs` it is due again then. Conflicts when the claim was lost. */
  | { kind: "timerDone"; timer: TimerToken; dueAtMs?: number; data?: Uint8Array }
  /** Appends events when the history has exactly `expectedLength` events, else conflicts. */
  | { kind: "history"; instance: string; expectedLength: number; events: readonly Uint8Array[] }
  | { kind: "historyDelete"; instance: string }
  /** Conflicts unless the lease is held with this token: nothing commits after ownership is lost. */
  | { kind: "guard"; lease: string; token: number };

export interface PutMutation {
  kind: "put";
  space: string;
  key: string;
  value: Uint8Array;
  contentType?: string;
  /** Present and not empty: the current etag must equal it. */
  etag?: string | undefined;
  /** The key must be absent. */
  ifAbsent?: boolean;
  /** `undefined`: never expires. */
  expiresAtMs?: number | undefined;
}

/**
 * `put` → the new etag; `append` and `deadLetter` → the new message's offset; deletes → whether something was there,
 * `deletePrefix` → also how many.
 */
export type Outcome = { etag?: string; offset?: number; existed?: boolean; count?: number };

export interface NewMessage {
  data: Uint8Array;
  /** Small JSON-able headers that travel with the message. */
  headers?: Record<string, string>;
  /** Messages with the same key are handled one after the other. */
  orderKey?: string;
  /** Not delivered before. */
  notBeforeMs?: number;
  /** Dropped after. */
  expiresAtMs?: number;
}

export interface ClaimRequest {
  topic: string;
  group: string;
  owner: string;
  max: number;
  leaseMs: number;
  waitMs: number;
  signal?: AbortSignal;
  /** Messages that wait for one with their order key come with it, in order. A hint: they may come one by one. */
  together?: boolean;
}

export interface NackOptions {
  /** The message was not tried, only given back (a drain): the attempt does not count. */
  untried?: boolean;
}

export interface DeliveryToken {
  topic: string;
  group: string;
  offset: number;
  /** Distinguishes this claim from later ones of the same message. */
  claim: number;
}

export interface Delivery extends DeliveryToken {
  data: Uint8Array;
  headers: Record<string, string>;
  /** 1 at the first try. */
  attempt: number;
  publishedAtMs: number;
  /** Present when the message expired before it was handled; the consumer dead-letters or drops it. */
  expired?: boolean;
}

export interface ClaimTimersRequest {
  space: string;
  owner: string;
  nowMs: number;
  max: number;
  leaseMs: number;
}

export interface TimerToken {
  space: string;
  id: string;
  claim: number;
}

export interface Timer extends TimerToken {
  dueAtMs: number;
  data: Uint8Array;
}

export interface Lease {
  name: string;
  owner: string;
  token: number;
  expiresAtMs: number;
}

export type LeaseResult = { held: true; token: number; expiresAtMs: number } | { held: false; lease: Lease };

export interface TopicStats {
  topic: string;
  messages: number;
  bytes: number;
  /** Messages that retention removed before every group had handled them. */
  dropped: number;
  /** `pending`: not handled and not in flight, delayed ones included. */
  groups: { group: string; pending: number; inFlight: number }[];
}

export interface StoreStats {
  keys: number;
  messages: number;
  timers: number;
  bytesOnDisk: number;
  schemaVersion: number;
}

/** A mutation did not find what it demanded. Nothing of its commit was applied. */
export class StoreConflict extends Error {
  readonly index: number;
  readonly reason: "etag" | "exists" | "absent" | "claim" | "length" | "lease";
  constructor(index: number, reason: StoreConflict["reason"], message: string) {
    super(message);
    this.name = "StoreConflict";
    this.index = index;
    this.reason = reason;
  }
}

/**
 * The store could not do it now. Except for "crashed" and "io" (where the outcome of a write is unknown: it may be
 * there after a restart), nothing was applied. Later calls may succeed.
 */
export class StoreUnavailable extends Error {
  readonly reason: "full" | "io" | "busy" | "corrupt" | "overloaded" | "crashed" | "closed";
  constructor(reason: StoreUnavailable["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StoreUnavailable";
    this.reason = reason;
  }
}
