import { component } from "../../component/component.ts";
import {
  checkPattern,
  completePrefix,
  isDirectChild,
  likePattern,
  pageOfKeys,
} from "../../component/like-pattern.ts";
import { runQuery } from "../../component/state-query.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagMismatch,
  type GetRequest,
  type KeysLikeRequest,
  type KeysLikeResult,
  type QueryResult,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateQuery,
  type StateStore,
} from "../../component/state-store.ts";
import type { ClockTimer } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";

export default component({
  type: "state.in-memory",
  version: "v1",
  status: "stable",
  summary: "Keys in this process, gone with it: for tests and for caches",
  metadata: {},
  open: async (_options, { edges }) => new MemoryStateStore(edges),
});

const sweepIntervalMs = 10_000;

class MemoryStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>([
    "ETAG",
    "TRANSACTIONAL",
    "TTL",
    "DELETE_WITH_PREFIX",
    "KEYS_LIKE",
    "QUERY_API",
  ]);
  readonly #edges: Edges;
  #entries = new Map<string, StateEntry>();
  #sweep: ClockTimer;

  constructor(edges: Edges) {
    this.#edges = edges;
    this.#sweep = this.#scheduleSweep();
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    return this.#read(key);
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    return requests.flatMap(({ key }) => {
      const entry = this.#read(key);
      return entry ? [{ key, ...entry }] : [];
    });
  }

  async set(request: SetRequest): Promise<void> {
    this.#checkSet(request);
    this.#write(request);
  }

  async delete(request: DeleteRequest): Promise<void> {
    this.#checkEtag(request);
    this.#entries.delete(request.key);
  }

  /** Applies the operations in order on the live map and puts the old entries back when one is refused. */
  async transact(operations: readonly StateOperation[]): Promise<void> {
    const before = new Map<string, StateEntry | undefined>();
    try {
      for (const operation of operations) this.#apply(operation, before);
    } catch (error) {
      for (const [key, entry] of before) {
        if (entry) this.#entries.set(key, entry);
        else this.#entries.delete(key);
      }
      throw error;
    }
  }

  async query(query: StateQuery): Promise<QueryResult> {
    return runQuery(this.#live(), query);
  }

  async deleteWithPrefix(prefix: string): Promise<number> {
    const complete = completePrefix(prefix);
    const keys = [...this.#live()].map((entry) => entry.key).filter((key) => isDirectChild(key, complete));
    for (const key of keys) this.#entries.delete(key);
    return keys.length;
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const pattern = likePattern(request.pattern);
    const matches = [...this.#live()].map((entry) => entry.key).filter((key) => pattern.test(key));
    return pageOfKeys(matches.sort(), request);
  }

  async close(): Promise<void> {
    this.#sweep.cancel();
    this.#entries.clear();
  }

  #apply(operation: StateOperation, before: Map<string, StateEntry | undefined>): void {
    const { key } = operation.request;
    if (!before.has(key)) before.set(key, this.#entries.get(key));
    if (operation.kind === "upsert") {
      this.#checkSet(operation.request);
      this.#write(operation.request);
    } else {
      this.#checkEtag(operation.request);
      this.#entries.delete(key);
    }
  }

  #read(key: string): StateEntry | undefined {
    const entry = this.#entries.get(key);
    if (!entry || !this.#isExpired(entry)) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  #write({ key, value, ttlSeconds, contentType }: SetRequest): void {
    const expiresAtMs = ttlSeconds ? this.#edges.clock.now() + ttlSeconds * 1000 : undefined;
    // The caller's bytes may be a view of a network buffer that is used again.
    this.#entries.set(key, {
      value: value.slice(),
      etag: this.#edges.random.uuid(),
      expiresAtMs,
      contentType,
    });
  }

  #checkSet(request: SetRequest): void {
    if (request.etag) this.#checkEtag(request);
    else if (request.concurrency === "first-write" && this.#read(request.key)) throw new EtagMismatch();
  }

  #checkEtag({ key, etag }: DeleteRequest): void {
    if (etag && this.#read(key)?.etag !== etag) throw new EtagMismatch();
  }

  #isExpired({ expiresAtMs }: StateEntry): boolean {
    return expiresAtMs !== undefined && expiresAtMs <= this.#edges.clock.now();
  }

  *#live(): Iterable<BulkEntry> {
    for (const [key, entry] of this.#entries) if (!this.#isExpired(entry)) yield { key, ...entry };
  }

  #scheduleSweep(): ClockTimer {
    const sweep = () => {
      for (const [key, entry] of this.#entries) if (this.#isExpired(entry)) this.#entries.delete(key);
      this.#sweep = this.#scheduleSweep();
    };
    return this.#edges.clock.setTimer(sweepIntervalMs, sweep, { background: true });
  }
}
