import { component } from "../../component/component.ts";
import type { ConfigurationItem, ConfigurationStore } from "../../component/configuration-store.ts";
import type { ClockTimer } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { openRedis, type RedisConnection } from "../clients/redis.ts";
import { redisFields } from "../clients/redis-fields.ts";

export default component({
  type: "configuration.redis",
  version: "v1",
  status: "stable",
  summary: "Texts of Redis or Valkey, `value||version`; changes by keyspace notifications",
  package: "ioredis",
  metadata: redisFields,
  async open(options, host): Promise<ConfigurationStore> {
    const redis = await openRedis(options, host);
    return new RedisConfiguration(redis, () => openRedis(options, host), { ...host, db: options.redisDB });
  },
});

type Items = Record<string, ConfigurationItem>;

interface Subscription {
  /** Empty: all. */
  keys: ReadonlySet<string>;
  listener: (items: Items) => void;
}

const keysPerScan = 1_000;
const keysPerRead = 500;
const pingMs = 10_000;

class RedisConfiguration implements ConfigurationStore {
  readonly #redis: RedisConnection;
  readonly #openEvents: () => Promise<RedisConnection>;
  readonly #around: { edges: Edges; log: Log; db: number };
  readonly #subscriptions = new Set<Subscription>();
  #events: Promise<RedisConnection> | undefined;
  #ping: ClockTimer | undefined;
  /** What subscribers were last told, or would have found at their beginning. */
  readonly #known = new Map<string, string>();
  readonly #changed = new Set<string>();
  #telling: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    redis: RedisConnection,
    openEvents: () => Promise<RedisConnection>,
    around: { edges: Edges; log: Log; db: number },
  ) {
    this.#redis = redis;
    this.#openEvents = openEvents;
    this.#around = around;
  }

  async get(keys: readonly string[]): Promise<Items> {
    const texts = await this.#read(keys.length > 0 ? keys : await this.#allKeys());
    return Object.fromEntries([...texts].map(([key, text]) => [key, itemOf(text)]));
  }

  async subscribe(
    keys: readonly string[],
    _metadata: Record<string, string>,
    listener: (items: Items) => void,
  ): Promise<() => Promise<void>> {
    this.#events ??= this.#listen().catch((error: unknown) => {
      this.#events = undefined;
      throw error;
    });
    await this.#events;
    for (const [key, text] of await this.#read(keys.length > 0 ? keys : await this.#allKeys())) {
      if (!this.#known.has(key)) this.#known.set(key, text);
    }
    const subscription = { keys: new Set(keys), listener };
    this.#subscriptions.add(subscription);
    return async () => {
      this.#subscriptions.delete(subscription);
      if (this.#subscriptions.size === 0) this.#known.clear();
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#subscriptions.clear();
    this.#ping?.cancel();
    const events = await this.#events?.catch(() => undefined);
    await events?.close();
    await this.#redis.close();
  }

  async #listen(): Promise<RedisConnection> {
    await this.#turnOnEvents();
    const events = await this.#openEvents();
    const prefix = `__keyspace@${this.#around.db}__:`;
    // In small letters: the client looks for the name as it is.
    const ask = () => events.read("psubscribe", `${prefix}*`);
    events.client.on("pmessage", (_pattern: string, channel: string) =>
      this.#note(channel.slice(prefix.length)),
    );
    events.client.on("ready", () => void this.#catchUp(ask));
    await ask();
    this.#pingLater(events);
    return events;
  }

  /** Servers send no such events unless they are told to. */
  async #turnOnEvents(): Promise<void> {
    const setting = "notify-keyspace-events";
    try {
      const [, flags] = (await this.#redis.read("CONFIG", "GET", setting)) as [Buffer, Buffer];
      const text = flags.toString();
      if (text.includes("K") && text.includes("A")) return;
      const wanted = ["K", "A"].filter((flag) => !text.includes(flag)).join("");
      await this.#redis.write("CONFIG", "SET", setting, text + wanted);
    } catch (error) {
      const why = messageOf(error);
      this.#around.log.warn(
        { error },
        `redis does not let us turn on ${setting}: it must be KA already (${why})`,
      );
    }
  }

  /** A connection that is silent for ever is a lost one. */
  #pingLater(events: RedisConnection): void {
    const ping = () => {
      events.read("PING").catch(() => undefined);
      this.#pingLater(events);
    };
    if (!this.#isClosed) this.#ping = this.#around.edges.clock.setTimer(pingMs, ping, { background: true });
  }

  /** After a lost connection: what changed meanwhile nobody has told. */
  async #catchUp(subscribeAgain: () => Promise<unknown>): Promise<void> {
    try {
      // A server that started anew has forgotten that, too.
      await this.#turnOnEvents();
      await subscribeAgain();
      const keys = [
        ...this.#known.keys(),
        ...this.#wantedKeys(),
        ...(this.#wantsAll() ? await this.#allKeys() : []),
      ];
      const texts = await this.#read([...new Set(keys)]);
      for (const key of keys) if (texts.get(key) !== this.#known.get(key)) this.#note(key);
    } catch (error) {
      if (!this.#isClosed) this.#around.log.warn({ error }, "changed configuration could not be looked up");
    }
  }

  #note(key: string): void {
    if (this.#isClosed || !(this.#wantsAll() || this.#wantedKeys().includes(key))) return;
    this.#changed.add(key);
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
    });
  }

  /** Reads what changed and tells of it; changes that come meanwhile are next. */
  async #tellAll(): Promise<void> {
    while (this.#changed.size > 0 && !this.#isClosed) {
      const keys = [...this.#changed];
      this.#changed.clear();
      try {
        this.#tell(keys, await this.#read(keys));
      } catch (error) {
        // The connection is away: when it is back, all is looked up.
        this.#around.log.warn({ error }, "changed configuration could not be read");
        return;
      }
    }
  }

  #tell(keys: readonly string[], texts: ReadonlyMap<string, string>): void {
    const items: Items = {};
    for (const key of keys) {
      const text = texts.get(key);
      // What never was an item, such as the state of another component, is not a deleted one.
      if (text !== undefined) items[key] = itemOf(text);
      else if (this.#known.has(key)) items[key] = itemOf("");
      if (text === undefined) this.#known.delete(key);
      else this.#known.set(key, text);
    }
    for (const { keys: wanted, listener } of [...this.#subscriptions]) {
      const own = Object.entries(items).filter(([key]) => wanted.size === 0 || wanted.has(key));
      if (own.length > 0) listener(Object.fromEntries(own));
    }
  }

  #wantsAll(): boolean {
    return [...this.#subscriptions].some(({ keys }) => keys.size === 0);
  }

  #wantedKeys(): string[] {
    return [...this.#subscriptions].flatMap(({ keys }) => [...keys]);
  }

  async #allKeys(): Promise<string[]> {
    const keys = new Set<string>();
    let cursor = "0";
    do {
      const reply = await this.#redis.read("SCAN", cursor, "COUNT", keysPerScan, "TYPE", "string");
      const [next, page] = reply as [Buffer, Buffer[]];
      for (const key of page) keys.add(key.toString());
      cursor = next.toString();
    } while (cursor !== "0");
    return [...keys];
  }

  /** The texts that are there. */
  async #read(keys: readonly string[]): Promise<Map<string, string>> {
    const texts = new Map<string, string>();
    for (let start = 0; start < keys.length; start += keysPerRead) {
      const some = keys.slice(start, start + keysPerRead);
      const reply = (await this.#redis.read("MGET", ...some)) as (Buffer | null)[];
      for (const [index, key] of some.entries()) {
        const text = reply[index];
        if (text) texts.set(key, text.toString());
      }
    }
    return texts;
  }
}

/** `value||version`; what follows a second `||` is not Dapr's either. */
function itemOf(text: string): ConfigurationItem {
  const [value = "", version = ""] = text.split("||");
  return { value, version, metadata: {} };
}
