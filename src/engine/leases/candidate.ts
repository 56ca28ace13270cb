import type { Clock, ClockTimer } from "../../edges/clock.ts";
import { type Random, realRandom } from "../../edges/random.ts";
import type { Lease, Store } from "../store/store.ts";
import { beginTerm, readTerm } from "./term-record.ts";

export interface LeaseTimes {
  leaseDurationMs: number;
  /** A leader that could not renew for this long stops being one; less than the lease. */
  renewDeadlineMs: number;
  /** After a failed attempt. */
  retryPeriodMs: number;
}

/** Who leads a group, as one of its candidates sees it. */
export interface Leadership {
  leader: string;
  term: number;
  /** Grows with each change of leader: what is written under an older one can be refused. */
  fencingToken: number;
}

export type ElectionEvent =
  | (Leadership & { kind: "leading" | "renewed"; validForMs: number })
  | (Leadership & { kind: "lost"; reason: string })
  /** Another leads. */
  | (Leadership & { kind: "following" });

export interface CandidateOptions {
  store: Pick<
    Store,
    "get" | "commit" | "acquireLease" | "renewLease" | "releaseLease" | "getLease" | "watch"
  >;
  clock: Clock;
  random?: Random;
  /** Of the lease; all candidates of a group have the same. */
  name: string;
  /** What others see of the leader. */
  leader: string;
  times: LeaseTimes;
  onEvent(event: ElectionEvent): void;
  onError(error: unknown): void;
}

interface Held extends Leadership {
  /** Monotonic: leadership ends then unless it is renewed. */
  validUntilMs: number;
  /** By the wall clock: when the store gives the lease to others. A machine that slept sees it here. */
  expiresAtMs: number;
  renewAtMs: number;
}

/**
 * One candidate for one lease: waits for it, keeps it, and says what it is. It leads only while a renewal is younger
 * than the deadline, on the monotonic clock and counted from before the store was asked, so it stops before the lease
 * ends, also when the store does not answer.
 */
export class Candidate {
  readonly #options: CandidateOptions;
  /** Unlike any other's: a lease that its owner takes again keeps its token. */
  #owner: string;
  #held: Held | undefined;
  #seen: { lease: Lease; sinceMs: number; told: number } | undefined;
  #unwatch: (() => void) | undefined;
  #loop: Promise<void> | undefined;
  #alarm: ClockTimer | undefined;
  #deadline: ClockTimer | undefined;
  #wake: () => void = () => undefined;
  #isWoken = false;
  #isEnding = false;

  constructor(options: CandidateOptions) {
    this.#options = options;
    this.#owner = this.#newOwner();
  }

  /** What it leads right now, looked at on the clock: `undefined` when it does not, or can not be sure. */
  get leadership(): (Leadership & { validForMs: number }) | undefined {
    const held = this.#held;
    if (held === undefined) return undefined;
    const validForMs = this.#leftMs(held);
    if (validForMs <= 0) return undefined;
    const { leader, term, fencingToken } = held;
    return { leader, term, fencingToken, validForMs };
  }

  start(): void {
    if (this.#loop !== undefined) return;
    const { store, name } = this.#options;
    this.#unwatch = store.watch(`lease:${name}`, () => this.#poke());
    this.#loop = this.#run();
  }

  /** Gives leadership up and campaigns no more. Resolves when the lease is free for others, as far as can be done. */
  async close(reason = "resigned"): Promise<void> {
    const held = this.#held;
    this.#isEnding = true;
    this.#lose(reason);
    this.#unwatch?.();
    this.#poke();
    if (held !== undefined) await this.#release(held.fencingToken);
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#isEnding) {
      this.#isWoken = false;
      const waitMs = await this.#step().catch((error) => {
        if (!this.#isEnding) this.#options.onError(error);
        return this.#options.times.retryPeriodMs;
      });
      if (!this.#isEnding) await this.#sleep(waitMs);
    }
  }

  /** Answers how long there is nothing to do. */
  #step(): Promise<number> {
    const held = this.#held;
    if (held === undefined) return this.#seek();
    if (this.#leftMs(held) <= 0) this.#lose("the lease could not be renewed in time");
    if (this.#held === undefined) return Promise.resolve(0);
    return this.#options.clock.monotonicMs() >= held.renewAtMs ? this.#renew(held) : this.#check(held);
  }

  async #seek(): Promise<number> {
    const { store, name } = this.#options;
    const lease = await store.getLease(name);
    const waitMs = lease === undefined ? 0 : this.#observe(lease);
    if (lease !== undefined) await this.#tellFollowing(lease);
    if (this.#isEnding || waitMs > 0) return waitMs;
    return this.#acquire();
  }

  /** Asked when it ends by this machine's clock, or when it did not move for its length: clocks of machines differ. */
  #observe(lease: Lease): number {
    const { clock, times } = this.#options;
    const nowMs = clock.monotonicMs();
    const { token, expiresAtMs } = lease;
    const seen = this.#seen;
    const isSame = seen?.lease.token === token && seen.lease.expiresAtMs === expiresAtMs;
    const sinceMs = isSame ? seen.sinceMs : nowMs;
    this.#seen = { lease, sinceMs, told: seen?.told ?? 0 };
    return Math.min(expiresAtMs - clock.now() + 1, sinceMs + times.leaseDurationMs - nowMs);
  }

  async #tellFollowing({ token }: Lease): Promise<void> {
    if (this.#seen === undefined || this.#seen.told === token) return;
    const record = await readTerm(this.#options.store, this.#options.name);
    // The leader has the lease already and has not written its term yet: told at the next look.
    if (record?.fencingToken !== token || this.#isEnding) return;
    this.#seen.told = token;
    const { leader, term, fencingToken } = record;
    this.#options.onEvent({ kind: "following", leader, term, fencingToken });
  }

  async #acquire(): Promise<number> {
    const { store, clock, name, leader, times } = this.#options;
    const startedMs = clock.monotonicMs();
    const nowMs = clock.now();
    const result = await store.acquireLease(name, this.#owner, times.leaseDurationMs);
    if (!result.held) {
      const waitMs = this.#observe(result.lease);
      return Math.max(waitMs, times.retryPeriodMs / 4);
    }
    const { token } = result;
    const record = this.#isEnding ? undefined : await beginTerm(store, { name, leader, token, nowMs });
    const held: Held | undefined = record && {
      leader,
      term: record.term,
      fencingToken: token,
      validUntilMs: startedMs + times.renewDeadlineMs,
      expiresAtMs: nowMs + times.leaseDurationMs,
      renewAtMs: startedMs + times.leaseDurationMs / 3,
    };
    if (held === undefined || this.#isEnding || this.#leftMs(held) <= 0) {
      await this.#release(token);
      return times.retryPeriodMs;
    }
    this.#seen = undefined;
    this.#hold(held, "leading");
    return Math.max(0, held.renewAtMs - clock.monotonicMs());
  }

  async #renew(held: Held): Promise<number> {
    const { store, clock, name, times } = this.#options;
    const startedMs = clock.monotonicMs();
    const nowMs = clock.now();
    const isRenewed = await store.renewLease(name, held.fencingToken, times.leaseDurationMs);
    // The deadline may have passed while the store was asked: what was lost does not come back.
    if (this.#held !== held) return 0;
    if (!isRenewed) {
      this.#lose("the lease was taken or given up");
      return 0;
    }
    const renewed: Held = {
      ...held,
      validUntilMs: startedMs + times.renewDeadlineMs,
      expiresAtMs: nowMs + times.leaseDurationMs,
      renewAtMs: startedMs + times.leaseDurationMs / 3,
    };
    if (this.#leftMs(held) <= 0 || this.#leftMs(renewed) <= 0) {
      this.#lose("the lease could not be renewed in time");
      return 0;
    }
    this.#hold(renewed, "renewed");
    return Math.max(0, renewed.renewAtMs - clock.monotonicMs());
  }

  /** Woken between renewals: somebody may have resigned for it. */
  async #check(held: Held): Promise<number> {
    const { store, clock, name } = this.#options;
    const lease = await store.getLease(name);
    if (this.#held === held && lease?.token !== held.fencingToken) {
      this.#lose("the lease was taken or given up");
    }
    return this.#held === held ? Math.max(0, held.renewAtMs - clock.monotonicMs()) : 0;
  }

  #hold(held: Held, kind: "leading" | "renewed"): void {
    this.#held = held;
    this.#deadline?.cancel();
    const validForMs = this.#leftMs(held);
    this.#deadline = this.#options.clock.setTimer(
      Math.ceil(validForMs),
      () => {
        this.#lose("the lease could not be renewed in time");
        this.#poke();
      },
      { background: true },
    );
    const { leader, term, fencingToken } = held;
    this.#options.onEvent({ kind, leader, term, fencingToken, validForMs });
  }

  #lose(reason: string): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#deadline?.cancel();
    // The next time is another term, also when the lease can not be given back now.
    this.#owner = this.#newOwner();
    const { leader, term, fencingToken } = held;
    this.#options.onEvent({ kind: "lost", leader, term, fencingToken, reason });
    if (!this.#isEnding) void this.#release(fencingToken);
  }

  async #release(token: number): Promise<void> {
    const { store, name, onError } = this.#options;
    // It ends by itself when this fails.
    await store.releaseLease(name, token).catch(onError);
  }

  #leftMs({ validUntilMs, expiresAtMs }: Held): number {
    const { clock } = this.#options;
    return Math.min(validUntilMs - clock.monotonicMs(), expiresAtMs - clock.now());
  }

  #poke(): void {
    this.#isWoken = true;
    this.#wake();
  }

  #sleep(waitMs: number): Promise<void> {
    if (this.#isWoken || waitMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#alarm?.cancel();
        this.#wake = () => undefined;
        resolve();
      };
      const { clock } = this.#options;
      this.#alarm = clock.setTimer(Math.ceil(waitMs), () => this.#wake(), { background: true });
    });
  }

  #newOwner(): string {
    const { random = realRandom } = this.#options;
    return random.uuid();
  }
}
