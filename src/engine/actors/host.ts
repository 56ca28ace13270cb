import { type Clock, type ClockTimer, sleep } from "../../edges/clock.ts";
import { errors } from "../../errors.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { ActiveActor, keyOf } from "./active-actor.ts";
import type { ActorApp } from "./app.ts";
import type { Cluster, HostRecord } from "./cluster.ts";
import type { TypeConfig } from "./config.ts";
import type { ActorRef } from "./engine.ts";
import type { ActorMeter } from "./meter.ts";
import type { Claim, Ownership } from "./ownership.ts";

export interface ActorHostOptions {
  cluster: Cluster;
  ownership: Ownership;
  clock: Clock;
  log: Log;
  meter: ActorMeter;
}

/** What became of a wish to have a turn: it was had, or the actor is not to be had here. */
export type TurnResult<T> =
  | { kind: "done"; value: T }
  | { kind: "elsewhere"; host: HostRecord }
  | { kind: "again" };

const idleScan = { shortestMs: 50, longestMs: 30_000, perTimeout: 4 };
/** An app that does not end a turn after its host lost the actor holds up only this actor, and not for ever. */
const staleTurnMaxMs = 600_000;
const releasedAtOnce = 1000;

/** The actors that live in this runtime: activated, given turns one by one, deactivated. */
export class ActorHost {
  readonly #options: ActorHostOptions;
  readonly #actors = new Map<string, ActiveActor>();
  /** Turns that outlived their actor here: until the app has ended them, it gets no others. */
  readonly #lingering = new Map<string, Promise<void>>();
  readonly #activating = new Map<string, Promise<Claim>>();
  #types: ReadonlyMap<string, TypeConfig> = new Map();
  #app: ActorApp | undefined;
  #scan: ClockTimer | undefined;
  #isOpen = false;

  constructor(options: ActorHostOptions) {
    this.#options = options;
  }

  get types(): ReadonlyMap<string, TypeConfig> {
    return this.#types;
  }

  open(types: ReadonlyMap<string, TypeConfig>, app: ActorApp): void {
    this.#types = types;
    this.#app = app;
    this.#isOpen = true;
  }

  /** The actor when it lives here under an ownership that still holds. */
  find(actor: ActorRef): ActiveActor | undefined {
    const active = this.#actors.get(keyOf(actor));
    if (active === undefined || active.isDeactivated) return undefined;
    return this.#isOwned(active) ? active : undefined;
  }

  /** Whether a turn of the actor still runs here although another host may have it. */
  isStale(actor: ActorRef): boolean {
    const active = this.#actors.get(keyOf(actor));
    return active !== undefined && !this.#isOwned(active);
  }

  counts(): { type: string; count: number }[] {
    const counts = new Map([...this.#types.keys()].map((type) => [type, 0]));
    for (const { type } of this.#actors.values()) counts.set(type, (counts.get(type) ?? 0) + 1);
    return [...counts].map(([type, count]) => ({ type, count }));
  }

  /** Runs a turn, activating the actor when it is to live here. */
  async turn<T>(
    actor: ActorRef,
    chain: string | undefined,
    signal: AbortSignal,
    work: (app: ActorApp, active: ActiveActor) => Promise<T>,
  ): Promise<TurnResult<T>> {
    const key = keyOf(actor);
    const lingering = this.#lingering.get(key);
    if (lingering !== undefined) {
      await untilAborted(lingering, signal);
      return { kind: "again" };
    }
    const known = this.#actors.get(key);
    if (known?.leaving !== undefined && !known.lock.isNested(chain)) {
      await untilAborted(known.leaving, signal);
      return { kind: "again" };
    }
    if (known === undefined) {
      const claim = await this.#activate(actor);
      if (claim.kind === "other") return { kind: "elsewhere", host: claim.host };
      if (claim.kind === "again") return claim;
    }
    const active = this.#actors.get(key);
    return active === undefined ? { kind: "again" } : this.#run(active, chain, signal, work);
  }

  /** Moves those away that belong to other hosts now. */
  rebalance(): void {
    const { cluster, meter } = this.#options;
    for (const active of this.#actors.values()) {
      if (active.leaving !== undefined || !cluster.isElsewhere(active.type, active.id)) continue;
      meter.rebalanced(active.type);
      void this.#leave(active, active.config.drainsRebalanced ? active.config.drainTimeoutMs : 0);
    }
  }

  /** The lease is gone: turns that run may end, but nothing begins. */
  lost(): void {
    for (const active of this.#actors.values()) {
      if (active.leaving === undefined) void this.#leave(active, staleTurnMaxMs);
    }
  }

  /** Deactivates all; resolves when they are gone. */
  async shut(): Promise<void> {
    this.#isOpen = false;
    this.#scan?.cancel();
    this.#scan = undefined;
    const leaving = [...this.#actors.values()].map(
      (active) => active.leaving ?? this.#leave(active, active.config.drainTimeoutMs, { isShutdown: true }),
    );
    await Promise.all(leaving);
  }

  async #run<T>(
    active: ActiveActor,
    chain: string | undefined,
    signal: AbortSignal,
    work: (app: ActorApp, active: ActiveActor) => Promise<T>,
  ): Promise<TurnResult<T>> {
    const { meter, clock } = this.#options;
    meter.pending(active.type, 1);
    try {
      const waiting = active.lock.enter(chain, signal);
      if (waiting !== undefined) await waiting;
    } catch (error) {
      meter.pending(active.type, -1);
      throw error;
    }
    const end = (): void => {
      active.lock.leave();
      active.noteTurnEnd(clock.monotonicMs());
      meter.pending(active.type, -1);
    };
    // Between the asking and this turn the actor may have left, or the lease may have run out.
    const isGoing = active.leaving !== undefined && !active.lock.isNested(chain);
    if (isGoing || !this.#isOwned(active)) {
      end();
      return { kind: "again" };
    }
    // A caller that gives up does not end the turn: the app is still at it.
    const turn = ended(work(this.#app as ActorApp, active), end);
    return { kind: "done", value: await untilAborted(turn, signal) };
  }

  #isOwned(active: ActiveActor): boolean {
    return this.#options.cluster.token === active.fence.token;
  }

  #activate(actor: ActorRef): Promise<Claim> {
    const key = keyOf(actor);
    let activating = this.#activating.get(key);
    if (activating === undefined) {
      activating = this.#claim(actor).finally(() => this.#activating.delete(key));
      this.#activating.set(key, activating);
    }
    return activating;
  }

  async #claim(actor: ActorRef): Promise<Claim> {
    const { cluster, ownership, clock } = this.#options;
    const { self, fence } = cluster;
    const config = this.#types.get(actor.type);
    if (!this.#isOpen || self === undefined || fence === undefined || config === undefined)
      return { kind: "again" };
    const claim = await ownership.claim(actor, fence, self.hostId);
    if (claim.kind !== "mine") return claim;
    if (!this.#isOpen || cluster.token !== fence.token) return { kind: "again" };
    this.#actors.set(keyOf(actor), new ActiveActor(actor, config, fence, clock.monotonicMs()));
    this.#scanLater();
    return claim;
  }

  /** Waits for running turns at most so long, tells the app, and lets the actor go. */
  #leave(active: ActiveActor, patienceMs: number, { isShutdown = false } = {}): Promise<void> {
    active.leaving ??= this.#depart(active, patienceMs, isShutdown);
    return active.leaving;
  }

  async #depart(active: ActiveActor, patienceMs: number, isShutdown: boolean): Promise<void> {
    const { clock, log, meter } = this.#options;
    await quietOr(active, clock, patienceMs);
    meter.timers(active.type, -active.cancelTimers());
    try {
      await this.#app?.deactivate(active, AbortSignal.timeout(isShutdown ? shutdownMs : deactivationMs));
    } catch (error) {
      const message = `the app could not deactivate actor ${keyOf(active)}`;
      if (!isShutdown) log.warn({ error }, message);
    }
    // Commits of a turn that outlived the patience are before the release in the store's order, or refused.
    active.isDeactivated = true;
    if (this.#isOwned(active)) await this.#release(active);
    this.#actors.delete(keyOf(active));
    if (!active.lock.isFree) this.#linger(active);
    meter.deactivated(active.type);
  }

  #linger(active: ActiveActor): void {
    const key = keyOf(active);
    const quiet = active.whenQuiet().then(() => void this.#lingering.delete(key));
    this.#lingering.set(key, quiet);
  }

  /** Those that leave in one moment leave in one commit: the store gathers them. */
  async #release(active: ActiveActor): Promise<void> {
    try {
      await this.#options.ownership.release([active], active.fence);
    } catch (error) {
      this.#options.log.warn({ error }, `actor ${keyOf(active)} could not be released`);
    }
  }

  #scanLater(): void {
    if (this.#scan !== undefined || this.#actors.size === 0) return;
    const timeouts = [...this.#types.values()].map(({ idleTimeoutMs }) => idleTimeoutMs);
    const wanted = Math.min(...timeouts) / idleScan.perTimeout;
    const delayMs = Math.min(Math.max(wanted, idleScan.shortestMs), idleScan.longestMs);
    this.#scan = this.#options.clock.setTimer(delayMs, () => this.#dropIdle(), { background: true });
  }

  #dropIdle(): void {
    this.#scan = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    let started = 0;
    for (const active of this.#actors.values()) {
      const isIdle = nowMs - active.lastUsedMs >= active.config.idleTimeoutMs;
      if (!isIdle || active.leaving !== undefined || !active.lock.isFree) continue;
      void this.#leave(active, 0);
      if (++started >= releasedAtOnce) break;
    }
    this.#scanLater();
  }
}

const deactivationMs = 10_000;
/** At the end of a runtime an app that does not answer holds nobody up for long. */
const shutdownMs = 2000;

async function quietOr(active: ActiveActor, clock: Clock, patienceMs: number): Promise<void> {
  if (active.lock.isFree || patienceMs === 0) return;
  const stop = new AbortController();
  await Promise.race([active.whenQuiet(), sleep(clock, patienceMs, stop.signal)]);
  stop.abort();
}

async function ended<T>(work: Promise<T>, end: () => void): Promise<T> {
  try {
    return await work;
  } finally {
    end();
  }
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = (): void => reject(signal.reason ?? errors.ACTOR_RUNTIME_CLOSED());
    if (signal.aborted) give();
    signal.addEventListener("abort", give, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener("abort", give);
        resolve(value);
      },
      (error) => {
        signal.removeEventListener("abort", give);
        reject(error);
      },
    );
  });
}
