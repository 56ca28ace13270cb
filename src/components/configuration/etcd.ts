import { component } from "../../component/component.ts";
import type { ConfigurationItem, ConfigurationStore } from "../../component/configuration-store.ts";
import { text } from "../../component/fields.ts";
import { pause, pauseBefore } from "../../component/pause.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import {
  base64,
  bytesOf,
  type EtcdAnswer,
  type EtcdChanges,
  type EtcdConnection,
  type EtcdEntry,
  etcdFields,
  keysFrom,
  openEtcd,
  wellFormed,
} from "../clients/etcd.ts";

export default component({
  type: "configuration.etcd",
  version: "v1",
  status: "beta",
  summary: "Keys of etcd 3.4 or newer below a prefix; changes by a watch. Dapr has no such component",
  metadata: {
    ...etcdFields,
    keyPrefixPath: text({
      description: "what stands before each key, and a slash",
      default: "configuration",
    }),
  },
  async open(options, host): Promise<ConfigurationStore> {
    return new EtcdConfiguration(await openEtcd(options, host), `${options.keyPrefixPath}/`, host);
  },
});

type Items = Record<string, ConfigurationItem>;

interface Subscription {
  /** Empty: all. */
  keys: ReadonlySet<string>;
  listener: (items: Items) => void;
}

const keysPerRead = 128;
/** A watch is made anew each time, from where the last one was: a connection that is half open tells nothing. */
const watchMs = 30_000;
const pauseMinMs = 100;
const pauseMaxMs = 5_000;

class EtcdConfiguration implements ConfigurationStore {
  readonly #etcd: EtcdConnection;
  readonly #prefix: string;
  readonly #around: { edges: Edges; log: Log };
  readonly #subscriptions = new Set<Subscription>();
  readonly #closed = new AbortController();
  /** Versions of what subscribers were told of, or would have found at their beginning. */
  #known = new Map<string, string>();
  /** The last revision whose changes were told. */
  #revision = 0n;
  #watching: Promise<void> | undefined;

  constructor(etcd: EtcdConnection, prefix: string, around: { edges: Edges; log: Log }) {
    this.#etcd = etcd;
    this.#prefix = prefix;
    this.#around = around;
  }

  async get(keys: readonly string[]): Promise<Items> {
    const found = keys.length > 0 ? await this.#read(keys) : (await this.#readAll()).kvs;
    return Object.fromEntries(found.map((entry) => [this.#nameOf(entry), itemOf(entry)]));
  }

  async subscribe(
    keys: readonly string[],
    _metadata: Record<string, string>,
    listener: (items: Items) => void,
  ): Promise<() => Promise<void>> {
    this.#watching ??= this.#begin().catch((error: unknown) => {
      this.#watching = undefined;
      throw error;
    });
    await this.#watching;
    const subscription = { keys: new Set(keys), listener };
    this.#subscriptions.add(subscription);
    return async () => void this.#subscriptions.delete(subscription);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#subscriptions.clear();
    await this.#watching?.catch(() => undefined);
    await this.#etcd.close();
  }

  /** What is there now is what the first subscriber found. */
  async #begin(): Promise<void> {
    await this.#lookUp();
    void this.#watch();
  }

  async #watch(): Promise<void> {
    const { log } = this.#around;
    for (let failures = 0; !this.#closed.signal.aborted; ) {
      try {
        if (await this.#watchOnce()) {
          await this.#lookUp();
          // A watch that is refused again and again keeps nobody busy.
          await this.#pause(failures++);
        } else failures = 0;
      } catch (error) {
        if (this.#closed.signal.aborted) return;
        log.warn({ error }, "configuration in etcd can not be watched; trying again");
        await this.#pause(failures++);
      }
    }
  }

  /** Returns whether changes were missed: all has to be looked up. */
  async #watchOnce(): Promise<boolean> {
    // An older store than before, after a restore. (What a watch tells first may be of a member that lags behind.)
    const { header } = await this.#etcd.read("kv/range", { key: base64(this.#prefix), count_only: true });
    if (revisionOf(header) < this.#revision) return true;
    let hasMissed = false;
    const over = new AbortController();
    const end = (): void => over.abort();
    const timer = this.#around.edges.clock.setTimer(watchMs, end, { background: true });
    this.#closed.signal.addEventListener("abort", end, { once: true });
    try {
      const request = { ...keysFrom(this.#prefix), start_revision: String(this.#revision + 1n) };
      await this.#etcd.watch(request, over.signal, (changes) => {
        // The changes asked for were compacted away, or the login has ended.
        hasMissed ||= changes.canceled === true;
        if (hasMissed) end();
        else this.#tellEvents(changes);
      });
    } finally {
      timer.cancel();
      this.#closed.signal.removeEventListener("abort", end);
    }
    return hasMissed;
  }

  /** What was written together is told together. */
  #tellEvents({ events = [] }: EtcdChanges): void {
    let changed: Items = {};
    for (const { type, kv } of events) {
      const revision = BigInt(kv.mod_revision ?? "0");
      if (revision > this.#revision) {
        this.#tell(changed);
        changed = {};
        this.#revision = revision;
      }
      const name = this.#nameOf(kv);
      changed[name] = type === "DELETE" ? gone : itemOf(kv);
      if (type === "DELETE") this.#known.delete(name);
      else this.#known.set(name, changed[name].version);
    }
    this.#tell(changed);
  }

  /** Reads all, and tells of what is not as it was known. */
  async #lookUp(): Promise<void> {
    const { kvs, revision } = await this.#readAll();
    const before = this.#known;
    const isFirst = this.#revision === 0n;
    this.#known = new Map(kvs.map((entry) => [this.#nameOf(entry), itemOf(entry).version]));
    this.#revision = revision;
    if (isFirst) return;
    const changed: Items = {};
    for (const entry of kvs) {
      const [name, item] = [this.#nameOf(entry), itemOf(entry)];
      if (before.get(name) !== item.version) changed[name] = item;
    }
    for (const name of before.keys()) if (!this.#known.has(name)) changed[name] = gone;
    this.#tell(changed);
  }

  #tell(changed: Items): void {
    for (const { keys, listener } of [...this.#subscriptions]) {
      const own = Object.entries(changed).filter(([name]) => keys.size === 0 || keys.has(name));
      if (own.length > 0) listener(Object.fromEntries(own));
    }
  }

  /** Grows twofold, each time between half and all of it. */
  #pause(failures: number): Promise<void> {
    const { clock, random } = this.#around.edges;
    const ms = pauseBefore(failures, { firstMs: pauseMinMs, maxMs: pauseMaxMs, random });
    return pause(clock, ms, this.#closed.signal);
  }

  /** Those that are there. */
  async #read(names: readonly string[]): Promise<EtcdEntry[]> {
    const found: EtcdEntry[] = [];
    for (let start = 0; start < names.length; start += keysPerRead) {
      const some = names.slice(start, start + keysPerRead);
      const success = some.map((name) => ({ request_range: { key: this.#key(name) } }));
      const { responses = [] } = await this.#etcd.read("kv/txn", { success });
      for (const { response_range } of responses) found.push(...(response_range?.kvs ?? []));
    }
    return found;
  }

  async #readAll(): Promise<{ kvs: EtcdEntry[]; revision: bigint }> {
    const { kvs = [], header } = await this.#etcd.read("kv/range", keysFrom(this.#prefix));
    return { kvs, revision: revisionOf(header) };
  }

  #key(name: string): string {
    return base64(this.#prefix + wellFormed("a key", name));
  }

  #nameOf({ key }: EtcdEntry): string {
    return bytesOf(key).toString().slice(this.#prefix.length);
  }
}

function revisionOf(header: EtcdAnswer["header"]): bigint {
  return BigInt(header?.revision ?? "0");
}

const gone: ConfigurationItem = { value: "", version: "", metadata: {} };

function itemOf({ value, mod_revision: version = "" }: EtcdEntry): ConfigurationItem {
  return { value: bytesOf(value).toString(), version, metadata: {} };
}
