import { type Clock, type ClockTimer, sleep } from "../edges/clock.ts";
import { type KeyEntry, type Store, StoreConflict } from "../engine/store/store.ts";
import type { Log } from "../telemetry/telemetry.ts";
import { type AppName, appText } from "./identity.ts";
import {
  Balancer,
  decodeInstance,
  encodeRecord,
  type Instance,
  type InstanceRecord,
  isGone,
} from "./instance.ts";
import { type LocalTarget, LocalTargets } from "./local-targets.ts";

/** Name resolution among the mecha processes that share one store, and among the apps of this process. */
export interface Registry {
  /** Apps of this very process: reached without a second hop. */
  readonly local: LocalTargets;
  /** Announces an instance until the registration is closed. Resolves when others can see it. */
  register(record: InstanceRecord): Promise<Registration>;
  /** The live instances of an app; a known app costs no wait and no look at the store. */
  resolve(name: AppName, call?: WaitingCall): readonly Instance[] | Promise<readonly Instance[]>;
  /** Chooses one to call; `undefined` when all were tried. */
  pick(instances: readonly Instance[], tried?: ReadonlySet<Instance>): Instance | undefined;
  /** A call could not reach the instance: others are preferred for a while; a dead one is forgotten everywhere. */
  suspect(instance: Instance): void;
  /** What to do about an app that was not found. */
  hintFor(name: AppName): string | undefined;
  /** Everything announced, for the CLI. */
  list(): Promise<Instance[]>;
  close(): Promise<void>;
}

/** Ends the wait for an unknown app; looked at only then. */
export interface WaitingCall {
  readonly signal: AbortSignal;
}

export interface Registration {
  /** Announces it with other properties. Resolves when others can see it. */
  update(changes: Pick<InstanceRecord, "tls">): Promise<void>;
  /** Takes the announcement back. */
  close(): Promise<void>;
}

export interface RegistryOptions {
  store: Pick<Store, "commit" | "list" | "watch">;
  clock: Clock;
  log: Log;
  /** Without a heartbeat an announcement lasts this long. */
  ttlMs?: number;
}

const space = "peers";
const defaultTtlMs = 30_000;
const heartbeatsPerTtl = 3;
export const suspicionMs = 1000;
/** An unknown app may be starting: asked for again this often (dapr-api.md §12.1). */
export const resolveRetries = 5;
export const resolveRetryMs = 100;
const pageSize = 1000;
const none: readonly Instance[] = [];

export function createRegistry(options: RegistryOptions): Registry {
  return new StoreRegistry(options);
}

class StoreRegistry implements Registry {
  readonly local = new LocalTargets();
  readonly #options: RegistryOptions;
  readonly #ttlMs: number;
  readonly #balancer = new Balancer();
  readonly #unwatch: () => void;
  readonly #registrations = new Set<Registration>();
  #byApp = new Map<string, Instance[]>();
  #refreshing: Promise<void> | undefined;
  #isStale = true;
  #isClosed = false;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#ttlMs = options.ttlMs ?? defaultTtlMs;
    this.#unwatch = options.store.watch(`keys:${space}`, () => {
      this.#isStale = true;
      void this.#refresh();
    });
  }

  async register(record: InstanceRecord): Promise<Registration> {
    const heartbeat = new Heartbeat(record, this.#ttlMs, this.#options);
    await heartbeat.beat();
    const registration: Registration = {
      update: (changes) => heartbeat.update(changes),
      close: async () => {
        if (this.#registrations.delete(registration)) await heartbeat.close();
      },
    };
    this.#registrations.add(registration);
    return registration;
  }

  resolve(name: AppName, call?: WaitingCall): readonly Instance[] | Promise<readonly Instance[]> {
    const known = this.#live(name);
    return known.length > 0 ? known : this.#find(name, call?.signal);
  }

  pick(instances: readonly Instance[], tried?: ReadonlySet<Instance>): Instance | undefined {
    return this.#balancer.pick(instances, tried, this.#options.clock.monotonicMs());
  }

  suspect(instance: Instance): void {
    instance.suspectUntilMs = this.#options.clock.monotonicMs() + suspicionMs;
    if (!isGone(instance)) return;
    const { log, store } = this.#options;
    const { appId, namespace, instanceId, pid, etag } = instance;
    const app = appKey(instance);
    this.#byApp.set(
      app,
      (this.#byApp.get(app) ?? []).filter((other) => other !== instance),
    );
    log.info({ appId, namespace, instanceId, pid }, "peer is gone");
    // With the etag: a successor of the same name is left alone.
    store.commit([{ kind: "delete", space, key: instanceKey(instance), etag }]).catch((error) => {
      if (!(error instanceof StoreConflict))
        log.warn({ error }, "could not remove a dead peer from the registry");
    });
  }

  hintFor(name: AppName): string {
    return `mecha list shows the apps of a data folder: is ${appText(name)} running, with the same --data-dir or --store?`;
  }

  async list(): Promise<Instance[]> {
    this.#isStale = true;
    await this.#refresh();
    return [...this.#byApp.values()].flat();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    await Promise.all([...this.#registrations].map((registration) => registration.close()));
    await this.#refreshing;
  }

  #live(name: AppName): readonly Instance[] {
    const instances = this.#byApp.get(appKey(name));
    if (instances === undefined) return none;
    const nowMs = this.#options.clock.now();
    if (instances.every((instance) => instance.expiresAtMs > nowMs)) return instances;
    const live = instances.filter((instance) => instance.expiresAtMs > nowMs);
    this.#byApp.set(appKey(name), live);
    return live;
  }

  /** Looks into the store itself, some times: the app may just be starting. */
  async #find(name: AppName, signal: AbortSignal | undefined): Promise<readonly Instance[]> {
    for (let attempt = 0; ; attempt++) {
      this.#isStale = true;
      await this.#refresh();
      const found = this.#live(name);
      if (found.length > 0 || attempt === resolveRetries || signal?.aborted || this.#isClosed) return found;
      await sleep(this.#options.clock, resolveRetryMs, signal);
    }
  }

  /** One read at a time; a change during it is followed by another. */
  #refresh(): Promise<void> {
    this.#refreshing ??= this.#readWhileStale().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #readWhileStale(): Promise<void> {
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false;
      try {
        this.#adopt(await this.#readAll());
      } catch (error) {
        this.#options.log.warn({ error }, "could not read the peer registry");
        return;
      }
    }
  }

  async #readAll(): Promise<KeyEntry[]> {
    const entries: KeyEntry[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#options.store.list(space, {
        limit: pageSize,
        ...(after !== undefined && { after }),
      });
      entries.push(...page);
      if (page.length < pageSize) return entries;
      after = page.at(-1)?.key;
    }
  }

  /** Takes over a new listing, keeping what is known of instances that stayed. */
  #adopt(entries: readonly KeyEntry[]): void {
    const before = new Map([...this.#byApp.values()].flat().map((known) => [identityOf(known), known]));
    const byApp = new Map<string, Instance[]>();
    for (const entry of entries) {
      const found = decodeInstance(entry);
      if (!found) continue;
      const known = before.get(identityOf(found));
      if (known) adoptChanges(known, found);
      const app = appKey(found);
      const instances = byApp.get(app);
      if (instances) instances.push(known ?? found);
      else byApp.set(app, [known ?? found]);
    }
    this.#byApp = byApp;
  }
}

/** Keeps one announcement alive. */
class Heartbeat {
  #record: InstanceRecord;
  readonly #ttlMs: number;
  readonly #options: RegistryOptions;
  #timer: ClockTimer | undefined;
  #isClosed = false;

  constructor(record: InstanceRecord, ttlMs: number, options: RegistryOptions) {
    this.#record = record;
    this.#ttlMs = ttlMs;
    this.#options = options;
  }

  /** Announces once and arranges the next time. */
  async beat(): Promise<void> {
    const { store, clock } = this.#options;
    this.#timer = clock.setTimer(this.#ttlMs / heartbeatsPerTtl, () => this.#beatAgain(), {
      background: true,
    });
    await store.commit([
      {
        kind: "put",
        space,
        key: instanceKey(this.#record),
        value: encodeRecord(this.#record),
        expiresAtMs: clock.now() + this.#ttlMs,
      },
    ]);
  }

  async update(changes: Partial<InstanceRecord>): Promise<void> {
    if (this.#isClosed) return;
    this.#record = { ...this.#record, ...changes };
    this.#timer?.cancel();
    await this.beat();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#options.store.commit([{ kind: "delete", space, key: instanceKey(this.#record) }]);
  }

  #beatAgain(): void {
    if (this.#isClosed) return;
    this.beat().catch((error) => {
      this.#options.log.warn({ error }, "could not renew this app's entry in the peer registry");
    });
  }
}

function adoptChanges(known: Instance, { etag, expiresAtMs, tls }: Instance): void {
  Object.assign(known, { etag, expiresAtMs });
  // The same object while nothing has changed: connections are kept by it.
  if (JSON.stringify(known.tls) !== JSON.stringify(tls)) known.tls = tls;
}

function appKey({ namespace, appId }: AppName): string {
  return `${namespace}/${appId}`;
}

function instanceKey(record: InstanceRecord): string {
  return `${appKey(record)}/${record.instanceId}`;
}

/** The same instance after a restart has another port or token: nothing known of the old one holds. */
function identityOf(record: InstanceRecord): string {
  return `${instanceKey(record)}/${record.host}:${record.port}/${record.token}`;
}

export type { Instance, InstanceRecord, LocalTarget };
