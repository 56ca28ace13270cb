import { component } from "../../component/component.ts";
import { duration, list, number } from "../../component/fields.ts";
import type {
  BulkEntry,
  DeleteRequest,
  GetRequest,
  SetRequest,
  StateEntry,
  StateFeature,
  StateStore,
} from "../../component/state-store.ts";
import type { Clock } from "../../edges/clock.ts";
import { Memcached } from "../clients/memcached.ts";

export default component({
  type: "state.memcached",
  version: "v1",
  status: "stable",
  summary: "memcached, in Dapr's layout; forgets all when it ends",
  metadata: {
    hosts: list({ description: "servers, host:port each, separated by commas", required: true }),
    maxIdleConnections: number({
      description: "connections to each server, kept open and shared",
      ...{ default: 2, min: 1, max: 1_000 },
    }),
    timeout: duration({
      description: "longest wait for an answer; a bare number counts milliseconds",
      ...{ default: 1_000, min: 1, max: 600_000, bareUnitMs: 1 },
    }),
  },
  async open({ hosts, maxIdleConnections, timeout }, { edges }): Promise<StateStore> {
    const servers = hosts.map(checkedHost);
    const client = new Memcached({
      ...{ hosts: servers, connectionsMax: maxIdleConnections, timeoutMs: timeout, edges },
    });
    try {
      await client.check();
    } catch (error) {
      client.close();
      throw error;
    }
    return new MemcachedStateStore(client, edges.clock);
  },
});

const keysPerRead = 100;

class MemcachedStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>(["TTL"]);
  readonly #client: Memcached;
  readonly #clock: Clock;

  constructor(client: Memcached, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async get(request: GetRequest): Promise<StateEntry | undefined> {
    const [entry] = await this.bulkGet([request]);
    return entry && { value: entry.value, etag: "" };
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const places = new Map<number, string[]>();
    for (const { key } of requests) {
      const place = this.#client.placeOf(checkedKey(key));
      places.set(place, [...(places.get(place) ?? []), key]);
    }
    const entries: BulkEntry[] = [];
    for (const [place, keys] of places)
      for (let start = 0; start < keys.length; start += keysPerRead)
        entries.push(...(await this.#read(place, keys.slice(start, start + keysPerRead))));
    return entries;
  }

  async set({ key, value, ttlSeconds }: SetRequest): Promise<void> {
    const place = this.#client.placeOf(checkedKey(key));
    const head = `set ${key} 0 ${this.#expiryOf(ttlSeconds ?? 0)} ${value.length}\r\n`;
    // A copy: the caller's bytes may change before they are sent.
    const bytes = Buffer.concat([Buffer.from(head), value, Buffer.from("\r\n")]);
    const { line } = await this.#client.ask(place, { bytes, isRead: false });
    if (line !== "STORED") throw refused(`key ${JSON.stringify(key)} of ${value.length} bytes`, line);
  }

  async delete({ key }: DeleteRequest): Promise<void> {
    const place = this.#client.placeOf(checkedKey(key));
    const bytes = Buffer.from(`delete ${key}\r\n`);
    const { line } = await this.#client.ask(place, { bytes, isRead: false });
    if (line !== "DELETED" && line !== "NOT_FOUND") throw refused(`deleting ${JSON.stringify(key)}`, line);
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #read(place: number, keys: readonly string[]): Promise<BulkEntry[]> {
    const bytes = Buffer.from(`get ${keys.join(" ")}\r\n`);
    const { line, values } = await this.#client.ask(place, { bytes, isRead: true });
    if (line !== "END") throw refused(`reading ${keys.length} keys`, line);
    return values.map(({ key, value }) => ({ key, value, etag: "" }));
  }

  /** The server counts ticks of a second: one more, and nothing expires early. From 30 days on it takes a time, not a span. */
  #expiryOf(ttlSeconds: number): number {
    const seconds = Math.trunc(ttlSeconds);
    if (seconds <= 0) return 0;
    if (seconds + 1 < spanMaxSeconds) return seconds + 1;
    const at = Math.ceil(this.#clock.now() / 1_000) + seconds + 1;
    if (at > timeMaxSeconds)
      throw new Error(`memcached can not keep a key for ${seconds} seconds: its clock ends in 2038`);
    return at;
  }
}

const spanMaxSeconds = 30 * 24 * 60 * 60;
const timeMaxSeconds = 2 ** 31 - 1;
const keyBytesMax = 250;

function checkedKey(key: string): string {
  const length = Buffer.byteLength(key);
  if (length > keyBytesMax)
    throw new Error(`the key has ${length} bytes, and a key in memcached has at most ${keyBytesMax}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they end a word or a line of the protocol.
  if (key === "" || /[\u0000-\u0020\u007f]/.test(key) || !key.isWellFormed())
    throw new Error(`a key in memcached has no blanks and no control characters: ${JSON.stringify(key)}`);
  return key;
}

function checkedHost(host: string): string {
  if (/^(\[[0-9a-f:.]+\]|[^:\s/]+):\d{1,5}$/i.test(host)) return host;
  throw new Error(`hosts: ${JSON.stringify(host)} is not host:port`);
}

function refused(what: string, line: string): Error {
  return new Error(`memcached: ${what}: ${line.slice(0, 200)}`);
}
