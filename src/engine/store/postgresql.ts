import { randomUUID } from "node:crypto";
import { type Clock, realClock } from "../../edges/clock.ts";
import { type Random, realRandom } from "../../edges/random.ts";
import { freshUntilMs } from "./claim-age.ts";
import { parseStoreAddress, type StoreAddress } from "./postgresql/address.ts";
import { type ClaimSource, claimWhenThere } from "./postgresql/claim-wait.ts";
import { Claims } from "./postgresql/claims.ts";
import { Feeds } from "./postgresql/feeds.ts";
import { Link, type LinkOptions } from "./postgresql/link.ts";
import { lockClass } from "./postgresql/locks.ts";
import { Reads, readCounts } from "./postgresql/reads.ts";
import { migrate, schemaVersion } from "./postgresql/schema.ts";
import { Sweeper } from "./postgresql/sweeper.ts";
import { fromText, toText } from "./postgresql/text.ts";
import { type ServedOutcome, WriteLane } from "./postgresql/write-lane.ts";
import type { Retention } from "./sqlite/batch-codec.ts";
import { markedOwner } from "./sqlite/process-mark.ts";
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

export interface PostgresqlStoreOptions {
  /** `postgresql://user:password@host:port/database?schema=mecha`. Processes that name the same schema share the store. */
  address: string;
  /** Waits of this process. What is stored is timed by the server, unless `time` says otherwise. */
  clock?: Clock;
  /** "clock": times of this process's clock, for tests on a simulated one. */
  time?: "server" | "clock";
  random?: Random;
  retention?: Partial<Retention>;
  /** How often expired entries and handled messages are removed. Default 5 s. */
  sweepEveryMs?: number;
  /** How long one query may take. Default 10 s. */
  queryTimeoutMs?: number;
  /** How long a call waits for a server that is away. Default 5 s. */
  patienceMs?: number;
}

const defaultRetention: Retention = { ageMs: 7 * 24 * 3600_000, bytes: 1024 ** 3 };
const connectionsForReads = 4;
const connectionsForClaims = 4;

/** Opens the home of the store that many machines share. Rejects with `StoreFileRefused` when it is not for this mecha. */
export async function openPostgresqlStore(options: PostgresqlStoreOptions): Promise<Store> {
  const address = parseStoreAddress(options.address);
  const preparing = new Link({ ...linkOptions(address, options), max: 1 });
  try {
    await migrate(preparing, address.schema, address.shown);
  } finally {
    await preparing.close();
  }
  const store = new PostgresqlStore(address, options);
  await store.listen();
  return store;
}

function linkOptions(address: StoreAddress, options: PostgresqlStoreOptions): Omit<LinkOptions, "max"> {
  const { queryTimeoutMs = 10_000, patienceMs = 5_000, random } = options;
  return {
    server: address.url,
    schema: address.schema,
    timeoutMs: queryTimeoutMs,
    patienceMs,
    ...(random ? { random } : {}),
  };
}

class PostgresqlStore implements Store {
  readonly #readLink: Link;
  readonly #writeLink: Link;
  readonly #claimLink: Link;
  readonly #reads: Reads;
  readonly #claims: Claims;
  readonly #feeds: Feeds;
  readonly #lane: WriteLane;
  readonly #sweeper: Sweeper;
  readonly #claimSource: ClaimSource;
  #closed: Promise<void> | undefined;

  constructor(address: StoreAddress, options: PostgresqlStoreOptions) {
    const { clock = realClock, random = realRandom } = options;
    const common = linkOptions(address, options);
    const locks = lockClass(address.schema);
    const nowMs = (): number | undefined => (options.time === "clock" ? clock.now() : undefined);
    this.#readLink = new Link({ ...common, max: connectionsForReads });
    this.#writeLink = new Link({ ...common, max: 1 });
    this.#claimLink = new Link({ ...common, max: connectionsForClaims });
    this.#reads = new Reads(this.#readLink, nowMs);
    this.#claims = new Claims(this.#claimLink, locks, nowMs);
    this.#feeds = new Feeds({
      connect: (events) => new Link({ ...common, ...events, max: 1 }),
      link: this.#readLink,
      name: `mecha_${address.schema}`,
      sender: randomUUID(),
    });
    const onTouched = (channels: Iterable<string>): void => this.#feeds.touched(channels);
    this.#lane = new WriteLane({ link: this.#writeLink, lockClass: locks, nowMs, onTouched });
    this.#sweeper = new Sweeper({
      clock,
      random,
      link: this.#claimLink,
      lockClass: locks,
      nowMs,
      retention: { ...defaultRetention, ...options.retention },
      everyMs: options.sweepEveryMs ?? 5_000,
      release: (owners) => this.#release(owners),
    });
    this.#claimSource = {
      clock,
      feeds: this.#feeds,
      claimNow: (request) => this.#open(() => this.#claims.messages(request)),
      giveBack: async (deliveries) => {
        await Promise.all(deliveries.map((delivery) => this.nack(delivery, 0, { untried: true })));
      },
    };
  }

  listen(): Promise<void> {
    return this.#feeds.open();
  }

  get(space: string, key: string): Promise<KeyEntry | undefined> {
    return this.#open(() => this.#reads.get(space, key));
  }

  getMany(space: string, keys: readonly string[]): Promise<KeyEntry[]> {
    return this.#open(() => this.#reads.getMany(space, keys));
  }

  list(space: string, options: ListOptions): Promise<KeyEntry[]> {
    return this.#open(() => this.#reads.list(space, options));
  }

  async commit(mutations: readonly Mutation[]): Promise<Outcome[]> {
    const outcomes = (await this.#lane.write({ op: "commit", mutations })) as ServedOutcome[];
    return outcomes.map(({ wake: _, ...outcome }) => outcome);
  }

  async ensureGroup(topic: string, group: string, from: "earliest" | "latest"): Promise<void> {
    if (await this.#open(() => this.#claims.hasGroup(topic, group))) return;
    await this.#claims.ensureGroup(topic, group, from);
    this.#feeds.touched([`topic:${topic}`]);
  }

  deleteGroup(topic: string, group: string): Promise<void> {
    return this.#open(() => this.#claims.deleteGroup(topic, group));
  }

  claim(request: ClaimRequest): Promise<Delivery[]> {
    return claimWhenThere(this.#claimSource, request);
  }

  async nack(delivery: DeliveryToken, delayMs: number, options: NackOptions = {}): Promise<boolean> {
    const { untried = false } = options;
    return (await this.#lane.write({ op: "nack", delivery: tokenOf(delivery), delayMs, untried })) as boolean;
  }

  async extend(deliveries: readonly DeliveryToken[], leaseMs: number): Promise<DeliveryToken[]> {
    if (deliveries.length === 0) return [];
    const tokens = deliveries.map(tokenOf);
    const owned = (await this.#lane.write({ op: "extend", deliveries: tokens, leaseMs })) as boolean[];
    return tokens.filter((_, index) => owned[index]);
  }

  topicStats(topic?: string): Promise<TopicStats[]> {
    return this.#open(() => this.#reads.topicStats(topic));
  }

  async claimTimers(request: ClaimTimersRequest): Promise<Timer[]> {
    const { clock } = this.#claimSource;
    const untilMs = freshUntilMs(clock, request.leaseMs);
    const timers = await this.#open(() => this.#claims.timers(request));
    return clock.monotonicMs() < untilMs ? timers : [];
  }

  releaseOwner(owner: string): Promise<void> {
    return this.#open(() => this.#release([toText(markedOwner(owner))]));
  }

  nextTimerAt(space: string): Promise<number | undefined> {
    return this.#open(() => this.#reads.nextTimerAt(space));
  }

  getTimer(space: string, id: string): Promise<Timer | undefined> {
    return this.#open(() => this.#reads.getTimer(space, id));
  }

  listTimers(space: string, options: ListOptions): Promise<Timer[]> {
    return this.#open(() => this.#reads.listTimers(space, options));
  }

  readHistory(instance: string, from: number): Promise<Uint8Array[]> {
    return this.#open(() => this.#reads.readHistory(instance, from));
  }

  async acquireLease(name: string, owner: string, ttlMs: number): Promise<LeaseResult> {
    const result = (await this.#lane.write({ op: "acquireLease", name, owner, ttlMs })) as LeaseResult;
    if (result.held) return result;
    return { held: false, lease: { ...result.lease, name, owner: fromText(result.lease.owner) } };
  }

  async renewLease(name: string, token: number, ttlMs: number): Promise<boolean> {
    return (await this.#lane.write({ op: "renewLease", name, token, ttlMs })) as boolean;
  }

  async releaseLease(name: string, token: number): Promise<boolean> {
    return (await this.#lane.write({ op: "releaseLease", name, token })) as boolean;
  }

  getLease(name: string): Promise<Lease | undefined> {
    return this.#open(() => this.#reads.getLease(name));
  }

  watch(channel: string, listener: FeedListener): () => void {
    return this.#feeds.watch(channel, listener);
  }

  stats(): Promise<StoreStats> {
    return this.#open(async () => ({ ...(await readCounts(this.#readLink)), schemaVersion }));
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  #open<T>(work: () => Promise<T>): Promise<T> {
    return this.#closed ? Promise.reject(new StoreUnavailable("closed", "the store is closed")) : work();
  }

  async #release(owners: readonly string[]): Promise<void> {
    this.#feeds.touched(await this.#claims.release(owners));
  }

  async #shutDown(): Promise<void> {
    await Promise.all([this.#sweeper.close(), this.#lane.close()]);
    await this.#feeds.close();
    await Promise.all([this.#readLink.close(), this.#writeLink.close(), this.#claimLink.close()]);
  }
}

/** Callers may hand in the whole delivery: only its token travels. */
function tokenOf({ topic, group, offset, claim }: DeliveryToken): DeliveryToken {
  return { topic, group, offset, claim };
}
