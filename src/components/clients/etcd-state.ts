import { number, text } from "../../component/fields.ts";
import { checkPattern, likePattern, likePrefix } from "../../component/like-pattern.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagInvalid,
  EtagMismatch,
  type GetRequest,
  type KeysLikeRequest,
  type KeysLikeResult,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateStore,
} from "../../component/state-store.ts";
import {
  base64,
  bytesOf,
  type EtcdConnection,
  type EtcdEntry,
  etcdFields,
  keysFrom,
  wellFormed,
} from "./etcd.ts";

/** Of both versions of the component. */
export const etcdStateFields = {
  ...etcdFields,
  keyPrefixPath: text({ description: "what stands before each key, and a slash", default: "" }),
  maxTxnOps: number({
    description: "operations of a transaction at most: what the server's --max-txn-ops says",
    ...{ default: 128, min: 1, max: 100_000 },
  }),
};

/** How one version of the component keeps values. */
export interface EtcdLayout {
  stored(value: Uint8Array, ttlSeconds: number | undefined): Uint8Array;
  read(stored: Uint8Array): { value: Uint8Array; expiresAtMs: number | undefined };
}

interface Settings {
  keyPrefixPath: string;
  maxTxnOps: number;
}

/** What a transaction does to one key, and what has to hold before. */
interface Change {
  compare: object | undefined;
  /** Absent: the key is deleted. */
  put: SetRequest | undefined;
}

const keysPerScan = 1_000;

/** Keys as Dapr writes them; the etag is the revision of the store at the last write. */
export class EtcdStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set(["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"]);
  readonly operationsMax: number;
  readonly #etcd: EtcdConnection;
  readonly #layout: EtcdLayout;
  readonly #prefix: string;

  constructor(etcd: EtcdConnection, layout: EtcdLayout, { keyPrefixPath, maxTxnOps }: Settings) {
    this.#etcd = etcd;
    this.#layout = layout;
    this.#prefix = `${keyPrefixPath}/`;
    this.operationsMax = maxTxnOps;
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    const { kvs: [found] = [] } = await this.#etcd.read("kv/range", { key: this.#key(key) });
    return found && this.#entryOf(found);
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const entries: BulkEntry[] = [];
    for (let start = 0; start < requests.length; start += this.operationsMax) {
      const some = requests.slice(start, start + this.operationsMax);
      const success = some.map(({ key }) => ({ request_range: { key: this.#key(key) } }));
      const { responses = [] } = await this.#etcd.read("kv/txn", { success });
      for (const [index, { key }] of some.entries()) {
        const [found] = responses[index]?.response_range?.kvs ?? [];
        if (found !== undefined) entries.push({ key, ...this.#entryOf(found) });
      }
    }
    return entries;
  }

  set(request: SetRequest): Promise<void> {
    return this.transact([{ kind: "upsert", request }]);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.transact([{ kind: "delete", request }]);
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    const changes = [...changesOf(operations)];
    if (changes.length === 0) return;
    const compare = changes.flatMap(([key, change]) =>
      change.compare ? [{ key: this.#key(key), ...change.compare }] : [],
    );
    const leases: string[] = [];
    const success: object[] = [];
    for (const [key, { put }] of changes) {
      if (put === undefined) success.push({ request_delete_range: { key: this.#key(key) } });
      else success.push({ request_put: { key: this.#key(key), ...(await this.#valueOf(put, leases)) } });
    }
    const { succeeded } = await this.#etcd.write("kv/txn", { compare, success });
    if (succeeded) return;
    await Promise.all(leases.map((ID) => this.#etcd.write("lease/revoke", { ID }).catch(() => undefined)));
    throw new EtagMismatch();
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const { pattern, token, limit = 0 } = request;
    const isWanted = likePattern(pattern);
    const prefix = this.#prefix + wellFormed("pattern", likePrefix(pattern));
    const keys: string[] = [];
    // The server's order is that of the bytes: a page begins behind the last key of the one before.
    let from = token === undefined ? undefined : behind(bytesOf(token));
    for (;;) {
      const range = { ...keysFrom(prefix, from), keys_only: true, limit: String(keysPerScan) };
      const { kvs = [], more } = await this.#etcd.read("kv/range", range);
      for (const { key } of kvs) {
        const name = bytesOf(key).toString().slice(this.#prefix.length);
        if (!isWanted.test(name)) continue;
        if (limit > 0 && keys.length >= limit) return { keys, token: this.#key(keys.at(-1) as string) };
        keys.push(name);
      }
      const last = kvs.at(-1);
      if (!more || last === undefined) return { keys };
      from = behind(bytesOf(last.key));
    }
  }

  close(): Promise<void> {
    return this.#etcd.close();
  }

  #key(key: string): string {
    return base64(this.#prefix + wellFormed("a key", key));
  }

  /** `value` and `lease` of a put. A lease that nobody uses ends by itself. */
  async #valueOf({ value, ttlSeconds }: SetRequest, leases: string[]) {
    const seconds = Math.trunc(ttlSeconds ?? 0) || undefined;
    const stored = base64(this.#layout.stored(value, seconds));
    if (seconds === undefined) return { value: stored };
    const { ID: lease = "" } = await this.#etcd.read("lease/grant", { TTL: String(seconds) });
    leases.push(lease);
    return { value: stored, lease };
  }

  #entryOf({ value, mod_revision: etag = "" }: EtcdEntry): StateEntry {
    return { ...this.#layout.read(bytesOf(value)), etag };
  }
}

/**
 * A transaction of etcd names each key once: of several operations on a key the last is done, and the first is compared.
 * What an operation before has written has an etag that nobody knows yet.
 */
function changesOf(operations: readonly StateOperation[]): Map<string, Change> {
  const changes = new Map<string, Change>();
  for (const { kind, request } of operations) {
    const { key, etag } = request;
    const before = changes.get(key);
    const isFirst = kind === "upsert" && request.concurrency === "first-write";
    if (before !== undefined && (etag || (isFirst && before.put !== undefined))) throw new EtagMismatch();
    changes.set(key, {
      compare: before === undefined ? comparison(etag, isFirst) : before.compare,
      // A copy: the caller's bytes may change before they are sent.
      put: kind === "upsert" ? { ...request, value: Uint8Array.from(request.value) } : undefined,
    });
  }
  return changes;
}

function comparison(etag: string | undefined, isFirst: boolean): object | undefined {
  if (etag) return { target: "MOD", result: "EQUAL", mod_revision: checkedEtag(etag) };
  return isFirst ? { target: "CREATE", result: "EQUAL", create_revision: "0" } : undefined;
}

function checkedEtag(etag: string): string {
  if (/^[1-9]\d{0,17}$/.test(etag)) return etag;
  throw new EtagInvalid(`invalid etag value: ${JSON.stringify(etag)} is no revision of etcd`);
}

function behind(key: Uint8Array): Uint8Array {
  return Buffer.concat([key, Buffer.of(0)]);
}
