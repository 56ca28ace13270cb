import { type Clock, sleep } from "../edges/clock.ts";
import type { HttpAddress } from "../net/http1/types.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { type AppName, appText } from "./identity.ts";
import type { InstanceRecord } from "./instance.ts";
import type { LocalTargets } from "./local-targets.ts";
import {
  type Instance,
  type Registration,
  type Registry,
  resolveRetries,
  resolveRetryMs,
  suspicionMs,
  type WaitingCall,
} from "./registry.ts";
import type { PeerSecurity, PeerTls } from "./security.ts";
import type { SharedSecret } from "./shared-secret.ts";

/** Finds instances of apps that the registry does not know of. */
export interface PeerFinder {
  /** For messages: which one it is. */
  readonly name: string;
  /** For so long what was found is used without another look. */
  readonly freshMs: number;
  /** None: nobody knows the app. Rejects when that can not be told. */
  find(name: AppName): Promise<readonly FoundPeer[]>;
}

export interface FoundPeer {
  host: string;
  port: number;
  /** By the wall clock; absent: as long as it is found. */
  expiresAtMs?: number | undefined;
}

export interface FoundPeersOptions {
  /** Of the data folder: the apps of this process, and all others as long as no finder is in use. */
  registry: Registry;
  clock: Clock;
  log: Log;
  /** Who calls. */
  principal: AppName;
  trustDomain(): string;
  security: PeerSecurity | undefined;
  secret: SharedSecret | undefined;
}

interface Listing {
  instances: readonly FoundInstance[];
  /** Then it is looked for again, behind the calls. */
  freshUntilMs: number;
  /** Then calls wait for that. */
  usableUntilMs: number;
}

const usableMs = 10_000;

const none: readonly FoundInstance[] = [];
/** Apps that are remembered: their names come from outside. */
const listingsMax = 1000;

/** The peers of one app: those of the registry, or those that a finder finds in its place. */
export class FoundPeers implements Registry {
  readonly local: LocalTargets;
  readonly #options: FoundPeersOptions;
  readonly #looking = new Map<string, Promise<readonly Instance[]>>();
  #finder: PeerFinder | undefined;
  #listings = new Map<string, Listing>();
  #isFailing = false;
  /** When a look failed last. */
  #failedMs = Number.NEGATIVE_INFINITY;

  constructor(options: FoundPeersOptions) {
    this.#options = options;
    this.local = options.registry.local;
  }

  get finder(): PeerFinder | undefined {
    return this.#finder;
  }

  /** From now on; `undefined`: the registry again. */
  use(finder: PeerFinder | undefined): void {
    this.#finder = finder;
    this.#isFailing = false;
    this.#failedMs = Number.NEGATIVE_INFINITY;
    this.#listings = new Map();
    this.#looking.clear();
  }

  register(record: InstanceRecord): Promise<Registration> {
    return this.#options.registry.register(record);
  }

  resolve(name: AppName, call?: WaitingCall): readonly Instance[] | Promise<readonly Instance[]> {
    if (this.#finder === undefined) return this.#options.registry.resolve(name, call);
    const listing = this.#listings.get(appText(name));
    const nowMs = this.#options.clock.monotonicMs();
    const isUsable = listing !== undefined && listing.usableUntilMs > nowMs;
    const live = isUsable ? this.#live(listing) : none;
    if (isUsable && live.length > 0 && listing.freshUntilMs > nowMs) return live;
    const found = this.#find(name, this.#finder, call?.signal);
    // Who does not wait for it does not hear of its failure: health checks, and calls that know an instance.
    found.catch(ignore);
    return live.length > 0 ? live : found;
  }

  pick(instances: readonly Instance[], tried?: ReadonlySet<Instance>): Instance | undefined {
    return this.#options.registry.pick(instances, tried);
  }

  suspect(instance: Instance): void {
    if (!(instance instanceof FoundInstance)) {
      this.#options.registry.suspect(instance);
      return;
    }
    instance.suspectUntilMs = this.#options.clock.monotonicMs() + suspicionMs;
    const listing = this.#listings.get(appText(instance));
    // The next call waits until it is known who is there.
    if (listing !== undefined) listing.usableUntilMs = 0;
  }

  hintFor(name: AppName): string | undefined {
    const finder = this.#finder;
    if (finder === undefined) return this.#options.registry.hintFor(name);
    return `spec.nameResolution is ${finder.name}: is ${appText(name)} running, and does it use the same?`;
  }

  list(): Promise<Instance[]> {
    return this.#options.registry.list();
  }

  /** What was handed in lives longer than the app. */
  async close(): Promise<void> {}

  #live({ instances }: Listing): readonly FoundInstance[] {
    const nowMs = this.#options.clock.now();
    if (instances.every((instance) => instance.expiresAtMs > nowMs)) return instances;
    return instances.filter((instance) => instance.expiresAtMs > nowMs);
  }

  /** Asks again some times, as Dapr does: the app may just be starting (dapr-api.md §12.1). */
  async #find(
    name: AppName,
    finder: PeerFinder,
    signal: AbortSignal | undefined,
  ): Promise<readonly Instance[]> {
    for (let attempt = 0; ; attempt++) {
      const isLast = attempt === resolveRetries || signal?.aborted || this.#finder !== finder;
      try {
        const found = await this.#lookOnce(name, finder);
        if (found.length > 0 || isLast) return found;
      } catch (error) {
        this.#failedMs = this.#options.clock.monotonicMs();
        const live = this.#keepStale(name, finder, error);
        if (live.length > 0) return live;
        if (isLast) throw new UnresolvedApp(name, finder.name, error);
      }
      await sleep(this.#options.clock, resolveRetryMs, signal);
    }
  }

  /** While nobody can be asked, what was found before holds, and calls do not wait. */
  #keepStale(name: AppName, finder: PeerFinder, error: unknown): readonly Instance[] {
    const listing = this.#listings.get(appText(name));
    const live = listing === undefined ? none : this.#live(listing);
    if (listing === undefined || live.length === 0) return none;
    this.#prolong(listing, finder);
    if (!this.#isFailing) {
      const text = `name resolution by ${finder.name} failed; what it found before is used`;
      this.#options.log.warn({ error }, text);
    }
    this.#isFailing = true;
    return live;
  }

  /** Who could not be asked a moment ago may have lost what it knew: it is told again soon. */
  #maybeForgotten({ usableUntilMs }: Listing): boolean {
    const isSuspect = usableUntilMs === 0;
    return !isSuspect && this.#options.clock.monotonicMs() - this.#failedMs < usableMs;
  }

  #prolong(listing: Listing, { freshMs }: PeerFinder): void {
    listing.freshUntilMs = this.#options.clock.monotonicMs() + freshMs;
    listing.usableUntilMs = listing.freshUntilMs + usableMs;
  }

  /** Calls that come together share a look. */
  #lookOnce(name: AppName, finder: PeerFinder): Promise<readonly Instance[]> {
    const key = appText(name);
    const looking = this.#looking.get(key);
    if (looking !== undefined) return looking;
    const look = this.#look(name, finder).finally(() => {
      if (this.#looking.get(key) === look) this.#looking.delete(key);
    });
    this.#looking.set(key, look);
    return look;
  }

  async #look(name: AppName, finder: PeerFinder): Promise<readonly Instance[]> {
    const key = appText(name);
    const found = await finder.find(name);
    if (this.#finder !== finder) return none;
    if (this.#isFailing) this.#options.log.info({}, `name resolution by ${finder.name} works again`);
    this.#isFailing = false;
    const known = this.#listings.get(key);
    if (found.length === 0 && known !== undefined && this.#maybeForgotten(known)) {
      this.#prolong(known, finder);
      return this.#live(known);
    }
    const before = known?.instances ?? [];
    const byId = new Map(before.map((instance) => [instance.instanceId, instance]));
    const next = found.map((peer) => this.#instanceOf(peer, name, byId));
    const isSame =
      next.length === before.length && next.every((instance, index) => instance === before[index]);
    // The same list while nothing has changed: balancers remember what they know by it.
    const instances = isSame ? before : next;
    const listing: Listing = { instances, freshUntilMs: 0, usableUntilMs: 0 };
    this.#prolong(listing, finder);
    this.#listings.delete(key);
    if (instances.length > 0) this.#listings.set(key, listing);
    const oldest = this.#listings.size > listingsMax ? this.#listings.keys().next().value : undefined;
    if (oldest !== undefined) this.#listings.delete(oldest);
    return this.#live(listing);
  }

  #instanceOf(peer: FoundPeer, name: AppName, known: ReadonlyMap<string, FoundInstance>): FoundInstance {
    const id = `${peer.host}:${peer.port}`;
    const instance = known.get(id) ?? new FoundInstance(peer, name, this.#options);
    instance.expiresAtMs = peer.expiresAtMs ?? Number.POSITIVE_INFINITY;
    return instance;
  }
}

class FoundInstance implements Instance {
  readonly appId: string;
  readonly namespace: string;
  readonly instanceId: string;
  readonly host: string;
  readonly port: number;
  readonly address: HttpAddress;
  readonly pid = 0;
  readonly machine = "";
  etag = "";
  expiresAtMs = Number.POSITIVE_INFINITY;
  outstanding = 0;
  suspectUntilMs = 0;
  readonly #options: FoundPeersOptions;
  #proof = { period: "", text: "" };

  constructor({ host, port }: FoundPeer, { appId, namespace }: AppName, options: FoundPeersOptions) {
    this.appId = appId;
    this.namespace = namespace;
    this.host = host;
    this.port = port;
    this.instanceId = `${host}:${port}`;
    this.address = { host, port };
    this.#options = options;
  }

  /** Nobody has announced it: a peer is taken to be of the own trust domain, and to require mTLS where this one does. */
  get tls(): PeerTls | undefined {
    return this.#options.security?.tls;
  }

  /** What this caller shows there; empty: its certificate alone. */
  get token(): string {
    const { secret, principal, trustDomain } = this.#options;
    if (secret === undefined) return "";
    const own = trustDomain();
    const period = `${secret.period} ${own}`;
    if (this.#proof.period !== period) {
      const text = secret.proofOf({ caller: { ...principal, trustDomain: own }, callee: this });
      this.#proof = { period, text };
    }
    return this.#proof.text;
  }
}

/** Whether there is such an app can not be told. */
class UnresolvedApp extends Error {
  readonly hint: string;

  constructor(name: AppName, finder: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`failed to resolve address for '${name.appId}': ${why}`, { cause });
    this.name = "UnresolvedApp";
    this.hint = `spec.nameResolution is ${finder}`;
  }
}

function ignore(): void {}
