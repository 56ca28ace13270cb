import { component } from "../../component/component.ts";
import type { ConfigurationItem, ConfigurationStore } from "../../component/configuration-store.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { type KeyEntry, type Mutation, type Store, StoreConflict } from "../store/store.ts";
import { configurationSpace } from "./spaces.ts";

type Items = Record<string, ConfigurationItem>;

const pageSize = 1000;
/** More would make each change notification a scan too long. */
const itemsMax = 10_000;
const triesMax = 20;

export function configurationOnStore(store: Store) {
  return component({
    type: "configuration.mecha",
    version: "v1",
    status: "stable",
    summary: "Configuration items in mecha's own durable store; subscribers hear of changes",
    metadata: {},
    async open(_options, { name, namespace, log }): Promise<ConfigurationStore> {
      return new MechaConfigurationStore(store, configurationSpace(namespace, name), log);
    },
  });
}

class MechaConfigurationStore implements ConfigurationStore {
  readonly #store: Store;
  readonly #space: string;
  readonly #log: Log;
  readonly #subscriptions = new Set<Subscription>();

  constructor(store: Store, space: string, log: Log) {
    this.#store = store;
    this.#space = space;
    this.#log = log;
  }

  async get(keys: readonly string[]): Promise<Items> {
    if (keys.length === 0) return this.#all();
    return itemsOf(await this.#store.getMany(this.#space, keys));
  }

  async subscribe(
    keys: readonly string[],
    _metadata: Record<string, string>,
    listener: (items: Items) => void,
  ): Promise<() => Promise<void>> {
    const subscription = new Subscription(() => this.get(keys), listener, this.#log);
    // Watching starts before the first look, so that no change falls between them.
    const unwatch = this.#store.watch(`keys:${this.#space}`, () => subscription.look());
    this.#subscriptions.add(subscription);
    try {
      await subscription.start();
    } catch (error) {
      unwatch();
      throw error;
    }
    subscription.onClose = unwatch;
    return async () => {
      this.#subscriptions.delete(subscription);
      subscription.close();
    };
  }

  /** All items in one commit; each version is one more than the stored one. */
  async set(items: Items): Promise<void> {
    const keys = Object.keys(items);
    if (keys.length === 0) return;
    for (let tries = 1; ; tries++) {
      const stored = await this.#store.getMany(this.#space, keys);
      const mutations = keys.map((key) =>
        this.#put(
          key,
          items[key],
          stored.find((entry) => entry.key === key),
        ),
      );
      try {
        await this.#store.commit(mutations);
        return;
      } catch (error) {
        // Another writer was faster: look again.
        if (!(error instanceof StoreConflict) || tries === triesMax) throw error;
      }
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    await this.#store.commit(keys.map((key): Mutation => ({ kind: "delete", space: this.#space, key })));
  }

  async close(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.close();
    this.#subscriptions.clear();
  }

  #put(key: string, item: ConfigurationItem | undefined, stored: KeyEntry | undefined): Mutation {
    const version = String(Number(stored ? readItem(stored).version : 0) + 1);
    const { value = "", metadata = {} } = item ?? {};
    const content = Buffer.from(JSON.stringify({ value, version, metadata }));
    const guard = stored ? { etag: stored.etag } : { ifAbsent: true };
    return {
      kind: "put",
      space: this.#space,
      key,
      value: content,
      contentType: "application/json",
      ...guard,
    };
  }

  async #all(): Promise<Items> {
    const entries: KeyEntry[] = [];
    for (let isMore = true; isMore; ) {
      const after = entries.at(-1)?.key;
      const page = await this.#store.list(this.#space, { after, limit: pageSize });
      entries.push(...page);
      isMore = page.length === pageSize;
      if (entries.length > itemsMax) throw new Error(`more than ${itemsMax} configuration items`);
    }
    return itemsOf(entries);
  }
}

/** Compares what is there with what was there each time the store hints at a change. */
class Subscription {
  onClose: () => void = () => {};
  readonly #read: () => Promise<Items>;
  readonly #listener: (items: Items) => void;
  readonly #log: Log;
  #known: Items = {};
  #isStarted = false;
  #isClosed = false;
  #looking: Promise<void> | undefined;
  #isStale = false;

  constructor(read: () => Promise<Items>, listener: (items: Items) => void, log: Log) {
    this.#read = read;
    this.#listener = listener;
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#known = await this.#read();
    this.#isStarted = true;
    if (this.#isStale) this.look();
  }

  look(): void {
    this.#isStale = true;
    if (this.#looking || !this.#isStarted || this.#isClosed) return;
    this.#looking = this.#lookWhileStale().finally(() => {
      this.#looking = undefined;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.onClose();
  }

  async #lookWhileStale(): Promise<void> {
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false;
      try {
        const items = await this.#read();
        const changed = changes(this.#known, items);
        this.#known = items;
        if (!this.#isClosed && Object.keys(changed).length > 0) this.#listener(changed);
      } catch (error) {
        // The next hint, at the latest within a second of the next change, looks again.
        this.#log.warn({ error }, "configuration items could not be read");
      }
    }
  }
}

function changes(before: Items, after: Items): Items {
  const changed: Items = {};
  for (const [key, item] of Object.entries(after)) {
    if (before[key]?.version !== item.version || before[key]?.value !== item.value) changed[key] = item;
  }
  for (const key of Object.keys(before)) {
    if (!after[key]) changed[key] = { value: "", version: "", metadata: {} };
  }
  return changed;
}

function itemsOf(entries: readonly KeyEntry[]): Items {
  return Object.fromEntries(entries.map((entry) => [entry.key, readItem(entry)]));
}

function readItem(entry: KeyEntry): ConfigurationItem {
  return JSON.parse(Buffer.from(entry.value).toString()) as ConfigurationItem;
}
