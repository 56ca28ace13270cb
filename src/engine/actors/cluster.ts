import type { Clock, ClockTimer } from "../../edges/clock.ts";
import { isGone, thisMachine } from "../../peer/instance.ts";
import type { PeerTls } from "../../peer/security.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Store } from "../store/store.ts";
import type { Fence } from "./engine.ts";
import { rendezvous } from "./rendezvous.ts";

/** A runtime that hosts actor types, as it announces itself to the others that share the store. */
export interface HostRecord {
  hostId: string;
  namespace: string;
  appId: string;
  types: string[];
  /** Where its peer port is, and what to show there. */
  host: string;
  port: number;
  peerToken: string;
  tls?: PeerTls | undefined;
  pid: number;
  machine: string;
  /** Of the lease that makes it a live host. */
  token: number;
}

export type Announcement = Omit<HostRecord, "token" | "pid" | "machine" | "types">;

export interface ClusterOptions {
  store: Store;
  clock: Clock;
  log: Log;
  /** Hosts of one name see each other. */
  cluster: string;
  leaseMs: number;
  /** Hosts came or went. */
  onChange(): void;
  /** This host's lease is lost: nothing it owned is its own any more. */
  onLost(): void;
}

const renewalsPerLease = 3;
const pageSize = 1000;

/** Who hosts which actor types, by leases in the store. No consensus: the store's transactions decide. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #unwatch: () => void;
  #hosts: readonly HostRecord[] = [];
  #self: HostRecord | undefined;
  #validUntilMs = 0;
  #beat: ClockTimer | undefined;
  #refreshing: Promise<void> | undefined;
  readonly #gone = new Map<string, AbortController>();
  #isStale = true;
  #isClosed = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#unwatch = options.store.watch(`keys:${this.#space}`, () => {
      this.#isStale = true;
      void this.refresh();
    });
  }

  get #space(): string {
    return `actorhosts:${this.#options.cluster}`;
  }

  /** This host while its lease certainly holds. */
  get self(): HostRecord | undefined {
    return this.#options.clock.monotonicMs() < this.#validUntilMs ? this.#self : undefined;
  }

  get isJoined(): boolean {
    return this.#self !== undefined;
  }

  /** Of the lease while it certainly holds. */
  get token(): number | undefined {
    return this.self?.token;
  }

  get fence(): Fence | undefined {
    const { self } = this;
    return self && { lease: this.leaseOf(self.hostId), token: self.token };
  }

  leaseOf(hostId: string): string {
    return `actorhost:${this.#options.cluster}:${hostId}`;
  }

  /** Becomes a live host of the types. */
  async join(announcement: Announcement, types: string[]): Promise<void> {
    const { store, clock, leaseMs } = this.#options;
    const { hostId } = announcement;
    const askedMs = clock.monotonicMs();
    const lease = await store.acquireLease(this.leaseOf(hostId), hostId, leaseMs);
    if (!lease.held) throw new Error(`the lease of actor host ${hostId} is held by ${lease.lease.owner}`);
    const record = { ...announcement, types, pid: process.pid, machine: thisMachine, token: lease.token };
    const value = Buffer.from(JSON.stringify(record));
    await store.commit([{ kind: "put", space: this.#space, key: hostId, value }]);
    this.#self = record;
    this.#validUntilMs = askedMs + leaseMs;
    this.#isStale = true;
    await this.refresh();
    this.#beatLater();
  }

  /** Announces itself with other properties, as long as it is a host. */
  async update(changes: Pick<HostRecord, "tls">): Promise<void> {
    if (this.#self === undefined) return;
    const record = { ...this.#self, ...changes };
    this.#self = record;
    const value = Buffer.from(JSON.stringify(record));
    await this.#options.store.commit([{ kind: "put", space: this.#space, key: record.hostId, value }]);
  }

  /** Is no host any more; what it owned has to be given up before. */
  async leave(): Promise<void> {
    this.#beat?.cancel();
    const self = this.#self;
    this.#self = undefined;
    if (self === undefined) return;
    const { store } = this.#options;
    await store.commit([{ kind: "delete", space: this.#space, key: self.hostId }]);
    await store.releaseLease(this.leaseOf(self.hostId), self.token);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.leave();
    this.#unwatch();
  }

  /** The host that should have an actor when nobody has it. */
  async hostFor(type: string, id: string): Promise<HostRecord | undefined> {
    if (this.#isStale) await this.refresh();
    const candidates = this.#hosts.filter((host) => host.types.includes(type));
    return candidates.length < 2 ? candidates[0] : rendezvous(`${type}||${id}`, candidates);
  }

  isElsewhere(type: string, id: string): boolean {
    const candidates = this.#hosts.filter((host) => host.types.includes(type));
    const chosen = rendezvous(`${type}||${id}`, candidates);
    return chosen !== undefined && chosen.hostId !== this.#self?.hostId;
  }

  find(hostId: string): HostRecord | undefined {
    return this.#hosts.find((host) => host.hostId === hostId);
  }

  /** Aborts when the host is no live one any more: whoever waits for its answer waits in vain. */
  goneSignal({ hostId, token }: HostRecord): AbortSignal {
    const key = `${hostId} ${token}`;
    let controller = this.#gone.get(key);
    if (controller === undefined) {
      controller = new AbortController();
      this.#gone.set(key, controller);
      if (!this.#hosts.some((host) => host.hostId === hostId && host.token === token)) this.#isStale = true;
    }
    return controller.signal;
  }

  /** Whether that very lease is still held. Once it is not, it never is again. */
  async isHeld({ lease, token }: Fence): Promise<boolean> {
    const current = await this.#options.store.getLease(lease);
    return current?.token === token;
  }

  /** A call could not reach the host: is it gone? */
  async suspect(host: HostRecord): Promise<void> {
    if (isGone(host)) await this.#bury(host);
    this.#isStale = true;
    await this.refresh();
  }

  /** Makes sure that a host whose lease ended can not come back with its old token, even if the clock is set back. */
  async shutOut(hostId: string): Promise<void> {
    const { store } = this.#options;
    const lease = this.leaseOf(hostId);
    const taken = await store.acquireLease(lease, `shut-out:${this.#self?.hostId ?? ""}`, 1);
    if (taken.held) await store.releaseLease(lease, taken.token);
  }

  refresh(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#refreshing ??= this.#read().finally(() => {
      this.#refreshing = undefined;
      if (this.#isStale && !this.#isClosed) void this.refresh();
    });
    return this.#refreshing;
  }

  async #read(): Promise<void> {
    this.#isStale = false;
    const { store } = this.#options;
    const live: HostRecord[] = [];
    try {
      for (const entry of await store.list(this.#space, { limit: pageSize })) {
        const host = JSON.parse(Buffer.from(entry.value).toString("utf8")) as HostRecord;
        if (isGone(host)) await this.#bury(host);
        else if (await this.isHeld({ lease: this.leaseOf(host.hostId), token: host.token })) live.push(host);
      }
    } catch (error) {
      if (!this.#isClosed) this.#options.log.warn({ error }, "the actor hosts could not be read");
      return;
    }
    const before = this.#hosts;
    this.#hosts = live;
    const keys = new Set(live.map(({ hostId, token }) => `${hostId} ${token}`));
    for (const [key, controller] of this.#gone) {
      if (keys.has(key)) continue;
      this.#gone.delete(key);
      controller.abort(new Error("the host of the actor is gone"));
    }
    if (describe(before) !== describe(live)) this.#options.onChange();
  }

  /** A host of this machine whose process is dead: its lease need not run out. */
  async #bury({ hostId, token }: HostRecord): Promise<void> {
    const { store } = this.#options;
    await store.releaseLease(this.leaseOf(hostId), token);
    await store.commit([{ kind: "delete", space: this.#space, key: hostId }]);
  }

  #beatLater(): void {
    const { clock, leaseMs } = this.#options;
    this.#beat?.cancel();
    const beat = (): void => void this.#renew();
    this.#beat = clock.setTimer(leaseMs / renewalsPerLease, beat, { background: true });
  }

  async #renew(): Promise<void> {
    const { store, clock, leaseMs, log } = this.#options;
    const self = this.#self;
    if (self === undefined) return;
    const askedMs = clock.monotonicMs();
    try {
      if (await store.renewLease(this.leaseOf(self.hostId), self.token, leaseMs)) {
        this.#validUntilMs = askedMs + leaseMs;
        // Leases that ended tell nobody.
        this.#isStale = true;
        await this.refresh();
        this.#beatLater();
        return;
      }
    } catch (error) {
      log.warn({ error }, "the lease of this actor host could not be renewed");
      if (clock.monotonicMs() < this.#validUntilMs) return this.#beatLater();
    }
    if (this.#self !== self) return;
    this.#self = undefined;
    log.warn({}, "the lease of this actor host was lost: its actors are given up");
    this.#options.onLost();
  }
}

function describe(hosts: readonly HostRecord[]): string {
  return hosts.map(({ hostId, token, types }) => `${hostId} ${token} ${types.join()}`).join("\n");
}
