import { randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { type Clock, realClock } from "../../edges/clock.ts";
import { freshUntilMs } from "./claim-age.ts";
import { schemaVersion } from "./migrations.ts";
import { bytesAt, deliveryToken, type Retention } from "./sqlite/batch-codec.ts";
import { type ClaimSource, claimWhenThere } from "./sqlite/claim-wait.ts";
import { feedFileEnding, feedFolder } from "./sqlite/feed-file.ts";
import { Feeds } from "./sqlite/feeds.ts";
import { concernsTheFile, toStoreUnavailable } from "./sqlite/file-fault.ts";
import { openReader, prepareStoreFile } from "./sqlite/open-file.ts";
import { markedOwner } from "./sqlite/process-mark.ts";
import { Reads } from "./sqlite/reads.ts";
import { type Claimed, StandingClaims } from "./sqlite/standing-claims.ts";
import { Sweeper } from "./sqlite/sweeper.ts";
import { WriteThread } from "./sqlite/write-thread.ts";
import {
  type ClaimRequest,
  type ClaimTimersRequest,
  type Delivery,
  type DeliveryToken,
  type FeedListener,
  type KeyEntry,
  type Lease,
  type LeaseResult,
  type ListOptions,
  type Mutation,
  type NackOptions,
  type Outcome,
  type Store,
  type StoreStats,
  StoreUnavailable,
  type Timer,
  type TopicStats,
} from "./store.ts";

export interface SqliteStoreOptions {
  /** Holds the store's files; made when missing. Processes that name the same folder share the store. */
  folder: string;
  clock?: Clock;
  /** How much of a topic is kept at most, whether handled or not. Default 7 days and 1 GiB for each topic. */
  retention?: Partial<Retention>;
  /** How long a write waits for another process's lock. Default 5 s. */
  busyTimeoutMs?: number;
  /** How often expired entries and handled messages are removed. Default 5 s. */
  sweepEveryMs?: number;
}

const defaultRetention: Retention = { ageMs: 7 * 24 * 3600_000, bytes: 1024 ** 3 };

/** Opens the embedded home of the store. Rejects with `StoreFileRefused` when the file is not for this mecha. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { folder, busyTimeoutMs = 5_000, clock = realClock } = options;
  const path = prepareStoreFile(folder, { busyTimeoutMs });
  const db = openReader(path, { busyTimeoutMs });
  const reads = new Reads(db);
  const feedPath = join(feedFolder(folder), `${process.pid}-${randomUUID()}${feedFileEnding}`);
  const feeds = new Feeds({ clock, path: feedPath, version: () => reads.dataVersion() });
  const standing = new StandingClaims();
  const thread = new WriteThread({
    onAppending: (topics) => standing.makeFor(topics),
    path,
    feedPath,
    clock,
    busyTimeoutMs,
    onTouched: (channels) => feeds.notify(channels, true),
  });
  const sweeper = new Sweeper({
    clock,
    reads,
    thread,
    retention: { ...defaultRetention, ...options.retention },
    everyMs: options.sweepEveryMs ?? 5_000,
  });
  const bytesOnDisk = () => ["", "-wal"].reduce((sum, end) => sum + fileBytes(path + end), 0);
  const close = async (): Promise<void> => {
    sweeper.close();
    feeds.close();
    await thread.close();
    db.close();
  };
  return new SqliteStore({ clock, reads, feeds, standing, thread, ownerOf: markedOwner, bytesOnDisk, close });
}

/** What the store is put together from: files and a thread, or what the simulator has in their place. */
export interface SqliteStoreParts {
  clock: Clock;
  reads: Reads;
  feeds: Pick<Feeds, "watch">;
  standing: StandingClaims;
  thread: Pick<WriteThread, "write">;
  /** The name under which an owner's claims are kept: it tells whether its process is alive. */
  ownerOf(owner: string): string;
  bytesOnDisk(): number;
  close(): Promise<void>;
}

export class SqliteStore implements Store {
  readonly #parts: SqliteStoreParts;
  readonly #clock: Clock;
  readonly #reads: Reads;
  readonly #thread: Pick<WriteThread, "write">;
  readonly #claimSource: ClaimSource;
  #closed: Promise<void> | undefined;

  constructor(parts: SqliteStoreParts) {
    const { clock, reads, feeds, standing, thread } = parts;
    this.#parts = parts;
    this.#clock = clock;
    this.#reads = reads;
    this.#thread = thread;
    this.#claimSource = {
      clock,
      standing,
      feeds,
      outlook: (topic, group) => this.#read((nowMs) => this.#reads.outlook(topic, group, nowMs)),
      claimNow: (request) => this.#claimNow(request),
      giveBack: async (deliveries) => {
        await Promise.all(deliveries.map((delivery) => this.nack(delivery, 0, { untried: true })));
      },
    };
  }

  get(space: string, key: string): Promise<KeyEntry | undefined> {
    return this.#read((nowMs) => this.#reads.get(space, key, nowMs));
  }

  getMany(space: string, keys: readonly string[]): Promise<KeyEntry[]> {
    return this.#read((nowMs) => this.#reads.getMany(space, keys, nowMs));
  }

  list(space: string, options: ListOptions): Promise<KeyEntry[]> {
    return this.#read((nowMs) => this.#reads.list(space, options, nowMs));
  }

  async commit(mutations: readonly Mutation[]): Promise<Outcome[]> {
    return [...(await this.#thread.write({ op: "commit", mutations })).value];
  }

  async ensureGroup(topic: string, group: string, from: "earliest" | "latest"): Promise<void> {
    if (await this.#read(() => this.#reads.hasGroup(topic, group))) return;
    await this.#thread.write({ op: "ensureGroup", topic, group, from });
  }

  async deleteGroup(topic: string, group: string): Promise<void> {
    await this.#thread.write({ op: "deleteGroup", topic, group });
  }

  claim(request: ClaimRequest): Promise<Delivery[]> {
    return claimWhenThere(this.#claimSource, request);
  }

  async nack(delivery: DeliveryToken, delayMs: number, options: NackOptions = {}): Promise<boolean> {
    const { untried = false } = options;
    return (await this.#thread.write({ op: "nack", delivery: deliveryToken(delivery), delayMs, untried }))
      .value;
  }

  async extend(deliveries: readonly DeliveryToken[], leaseMs: number): Promise<DeliveryToken[]> {
    if (deliveries.length === 0) return [];
    const { value } = await this.#thread.write({
      op: "extend",
      deliveries: deliveries.map(deliveryToken),
      leaseMs,
    });
    return [...value];
  }

  topicStats(topic?: string): Promise<TopicStats[]> {
    return this.#read((nowMs) => this.#reads.topicStats(topic, nowMs));
  }

  async claimTimers(request: ClaimTimersRequest): Promise<Timer[]> {
    const nextAtMs = await this.nextTimerAt(request.space);
    if (nextAtMs === undefined || nextAtMs > request.nowMs) return [];
    const owner = this.#parts.ownerOf(request.owner);
    const untilMs = freshUntilMs(this.#clock, request.leaseMs);
    const { value, bytes } = await this.#thread.write({ op: "claimTimers", ...request, owner });
    if (this.#clock.monotonicMs() >= untilMs) return [];
    return value.map((timer) => ({ ...timer, data: bytesAt(bytes, timer.data) }));
  }

  async releaseOwner(owner: string): Promise<void> {
    await this.#thread.write({ op: "releaseOwners", owners: [this.#parts.ownerOf(owner)] });
  }

  nextTimerAt(space: string): Promise<number | undefined> {
    return this.#read(() => this.#reads.nextTimerAt(space));
  }

  getTimer(space: string, id: string): Promise<Timer | undefined> {
    return this.#read(() => this.#reads.getTimer(space, id));
  }

  listTimers(space: string, options: ListOptions): Promise<Timer[]> {
    return this.#read(() => this.#reads.listTimers(space, options));
  }

  readHistory(instance: string, from: number): Promise<Uint8Array[]> {
    return this.#read(() => this.#reads.readHistory(instance, from));
  }

  async acquireLease(name: string, owner: string, ttlMs: number): Promise<LeaseResult> {
    const current = await this.getLease(name);
    if (current && current.owner !== owner) return { held: false, lease: current };
    return (await this.#thread.write({ op: "acquireLease", name, owner, ttlMs })).value;
  }

  async renewLease(name: string, token: number, ttlMs: number): Promise<boolean> {
    return (await this.#thread.write({ op: "renewLease", name, token, ttlMs })).value;
  }

  async releaseLease(name: string, token: number): Promise<boolean> {
    return (await this.#thread.write({ op: "releaseLease", name, token })).value;
  }

  getLease(name: string): Promise<Lease | undefined> {
    return this.#read((nowMs) => this.#reads.getLease(name, nowMs));
  }

  watch(channel: string, listener: FeedListener): () => void {
    return this.#parts.feeds.watch(channel, listener);
  }

  stats(): Promise<StoreStats> {
    return this.#read(() => {
      return { ...this.#reads.counts(), bytesOnDisk: this.#parts.bytesOnDisk(), schemaVersion };
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#parts.close();
    return this.#closed;
  }

  async #claimNow(request: ClaimRequest): Promise<Claimed> {
    const { topic, group, owner, max, leaseMs, together = false } = request;
    const untilMs = freshUntilMs(this.#clock, leaseMs);
    const { value, bytes } = await this.#thread.write({
      op: "claim",
      topic,
      group,
      owner: this.#parts.ownerOf(owner),
      max,
      leaseMs,
      together,
    });
    const deliveries = value.deliveries.map((delivery) => ({
      ...delivery,
      data: bytesAt(bytes, delivery.data),
    }));
    return { deliveries, exhausted: value.exhausted, freshUntilMs: untilMs };
  }

  /** One synchronous look into the file, as a promise: a read before a write never sees half of it. */
  #read<T>(look: (nowMs: number) => T): Promise<T> {
    if (this.#closed) return Promise.reject(new StoreUnavailable("closed", "the store is closed"));
    try {
      return Promise.resolve(look(this.#clock.now()));
    } catch (error) {
      return Promise.reject(concernsTheFile(error) ? toStoreUnavailable(error) : error);
    }
  }
}

function fileBytes(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
