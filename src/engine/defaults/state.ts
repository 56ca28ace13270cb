import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import {
  checkPattern,
  completePrefix,
  isDirectChild,
  likePattern,
  likePrefix,
} from "../../component/like-pattern.ts";
import { runQuery } from "../../component/state-query.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagMismatch,
  type GetRequest,
  joinFailures,
  type KeyFailure,
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
import type { Clock } from "../../edges/clock.ts";
import { type KeyEntry, type Mutation, type Store, StoreConflict } from "../store/store.ts";
import { stateSpace } from "./spaces.ts";

/** How many keys a query may look at before it is refused: there is no index behind it. */
const queriedMax = 100_000;
const pageSize = 1000;

export function stateOnStore(store: Store) {
  return component({
    type: "state.mecha",
    version: "v1",
    status: "stable",
    summary: "Keys in mecha's own durable store: nothing to install",
    metadata: {
      space: text({
        description: "components with the same space share their keys; by default the component's name",
      }),
    },
    async open({ space }, { name, namespace, edges }): Promise<StateStore> {
      return new MechaStateStore(store, stateSpace(namespace, space ?? name), edges.clock);
    },
  });
}

/** The store when it is one of the engine's own: its operations can be part of a larger commit. */
export function engineState(store: StateStore): MechaStateStore | undefined {
  return store instanceof MechaStateStore ? store : undefined;
}

class MechaStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>([
    "ETAG",
    "TRANSACTIONAL",
    "TTL",
    "DELETE_WITH_PREFIX",
    "KEYS_LIKE",
    "QUERY_API",
  ]);
  readonly #store: Store;
  readonly #space: string;
  readonly #clock: Clock;

  constructor(store: Store, space: string, clock: Clock) {
    this.#store = store;
    this.#space = space;
    this.#clock = clock;
  }

  // A key entry of the store is a state entry with its key beside it.
  get({ key }: GetRequest): Promise<StateEntry | undefined> {
    return this.#store.get(this.#space, key);
  }

  bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    return this.#store.getMany(
      this.#space,
      requests.map((request) => request.key),
    );
  }

  set(request: SetRequest): Promise<void> {
    return this.#commit([this.#put(request)]);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.#commit([this.#remove(request)]);
  }

  /** Each key for itself; the store gathers those of one moment into one fsync anyway. */
  bulkSet(requests: readonly SetRequest[]): Promise<void> {
    return each(requests, (request) => this.set(request));
  }

  bulkDelete(requests: readonly DeleteRequest[]): Promise<void> {
    return each(requests, (request) => this.delete(request));
  }

  transact(operations: readonly StateOperation[]): Promise<void> {
    return this.#commit(this.mutationsOf(operations));
  }

  async transactFenced(
    operations: readonly StateOperation[],
    { lease, token }: { lease: string; token: number },
  ): Promise<void> {
    try {
      await this.#store.commit([{ kind: "guard", lease, token }, ...this.mutationsOf(operations)]);
    } catch (error) {
      if (!(error instanceof StoreConflict)) throw error;
      throw error.reason === "lease"
        ? new Error("this host does not own the actor any more")
        : new EtagMismatch();
    }
  }

  /** What the operations come to in a commit of the engine's own store. */
  mutationsOf(operations: readonly StateOperation[]): Mutation[] {
    return operations.map((operation) =>
      operation.kind === "upsert" ? this.#put(operation.request) : this.#remove(operation.request),
    );
  }

  async query(query: StateQuery): Promise<QueryResult> {
    const entries: KeyEntry[] = [];
    for await (const page of this.#pages(query.keyPrefix ?? "")) {
      entries.push(...page);
      if (entries.length > queriedMax)
        throw new Error(`more than ${queriedMax} keys would have to be searched`);
    }
    return runQuery(entries, query);
  }

  async deleteWithPrefix(prefix: string): Promise<number> {
    const complete = completePrefix(prefix);
    let count = 0;
    for await (const page of this.#pages(complete)) {
      const keys = page.map((entry) => entry.key).filter((key) => isDirectChild(key, complete));
      const outcomes = await this.#store.commit(
        keys.map((key): Mutation => ({ kind: "delete", space: this.#space, key })),
      );
      count += outcomes.filter((outcome) => outcome.existed).length;
    }
    return count;
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const pattern = likePattern(request.pattern);
    const keys: string[] = [];
    const limit = request.limit && request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
    for await (const page of this.#pages(likePrefix(request.pattern), request.token)) {
      for (const { key } of page) {
        if (!pattern.test(key)) continue;
        // One more than asked tells that there is a next page.
        if (keys.length === limit) return { keys, token: keys.at(-1) };
        keys.push(key);
      }
    }
    return { keys };
  }

  /** The store itself is closed by who opened it. */
  async close(): Promise<void> {}

  async *#pages(prefix: string, after?: string): AsyncGenerator<KeyEntry[]> {
    let last = after;
    while (true) {
      const page = await this.#store.list(this.#space, { prefix, after: last, limit: pageSize });
      if (page.length > 0) yield page;
      if (page.length < pageSize) return;
      last = page.at(-1)?.key;
    }
  }

  async #commit(mutations: Mutation[]): Promise<void> {
    if (mutations.length === 0) return;
    try {
      await this.#store.commit(mutations);
    } catch (error) {
      throw error instanceof StoreConflict ? new EtagMismatch() : error;
    }
  }

  #put({ key, value, etag, concurrency, ttlSeconds, contentType }: SetRequest): Mutation {
    return {
      kind: "put",
      space: this.#space,
      key,
      value,
      etag: etag || undefined,
      ifAbsent: !etag && concurrency === "first-write",
      expiresAtMs: ttlSeconds ? this.#clock.now() + ttlSeconds * 1000 : undefined,
      contentType: contentType ?? "",
    };
  }

  #remove({ key, etag }: DeleteRequest): Mutation {
    return { kind: "delete", space: this.#space, key, etag: etag || undefined, mustExist: Boolean(etag) };
  }
}

async function each<R extends { key: string }>(requests: readonly R[], run: (request: R) => Promise<void>) {
  const failures: KeyFailure[] = [];
  const record = (key: string) => (error: Error) => void failures.push({ key, error });
  await Promise.all(requests.map((request) => run(request).catch(record(request.key))));
  if (failures.length > 0) throw joinFailures(failures);
}
