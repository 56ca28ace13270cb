import { type Clock, type ClockTimer, sleep } from "../../edges/clock.ts";
import { type Mutation, type Store, StoreConflict, StoreUnavailable, type Timer } from "../store/store.ts";

export interface DueTimersOptions {
  store: Pick<Store, "claimTimers" | "commit" | "nextTimerAt" | "releaseOwner" | "watch">;
  clock: Clock;
  space: string;
  /** Who claims. */
  owner: string;
  /** A claim lasts this long: longer than any handler may run. */
  leaseMs: number;
  /** Timers in the handler's hands at once. */
  atOnceMax: number;
  /** Ends the claim by `end`; what it throws is reported, and the timer comes again soon. */
  handle(timer: Timer): Promise<void>;
  onError(error: unknown): void;
}

/** The wall clock may be set while one waits: it is looked at this often. */
const longestWaitMs = 30_000;
const errorPauseMs = 1000;
const restMs = { first: 250, longest: 5000 };

/**
 * Hands the due timers of one space to a handler. Idle, it costs one timer of the clock and a hint of the store: no
 * polling. Several processes may do this for one space: each timer is claimed by one.
 */
export class DueTimers {
  readonly #options: DueTimersOptions;
  readonly #inFlight = new Set<Promise<void>>();
  #unwatch: (() => void) | undefined;
  #loop: Promise<void> | undefined;
  #alarm: ClockTimer | undefined;
  #wake: () => void = () => undefined;
  #isWoken = false;
  #isRunning = false;
  #stopping = new AbortController();
  #claims = 0;
  /** Whoever made a claim that was not answered: it may hold timers that nobody knows of. */
  #unanswered: string | undefined;
  #restMs = 0;
  #restsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: DueTimersOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#stopping = new AbortController();
    const { store, space } = this.#options;
    this.#unwatch = store.watch(`timers:${space}`, () => this.#poke());
    const before = this.#loop ?? Promise.resolve();
    this.#loop = before.then(() => this.#run());
  }

  /** No new ones; resolves when those in hand are done. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#stopping.abort();
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#poke();
    await this.#loop;
    await this.#release().catch(this.#options.onError);
    await Promise.all(this.#inFlight);
  }

  /** Ends a claim. A timer that was deleted, set anew or is another's by now stays as it is. */
  end(...mutations: Mutation[]): Promise<void> {
    return this.insist(async () => {
      try {
        await this.#options.store.commit(mutations);
      } catch (error) {
        // Also when an attempt before had been written, and only its answer was lost.
        if (!(error instanceof StoreConflict)) throw error;
      }
    });
  }

  /** Again and again while the store is not available, for a timer whose end is lost is handled twice. */
  async insist(work: () => Promise<void>): Promise<void> {
    const { clock, leaseMs, onError } = this.#options;
    const untilMs = clock.monotonicMs() + leaseMs;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const isLasting = !(error instanceof StoreUnavailable) || error.reason === "closed";
        if (isLasting || !this.#isRunning || clock.monotonicMs() >= untilMs) throw error;
        onError(error);
      }
      await this.#pause();
    }
  }

  /**
   * Claims nothing for a while, each time longer: whoever should handle the timers is away. Answers whether this is
   * the first rest since a timer was handled.
   */
  rest(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#restsUntilMs) return false;
    const isFirst = this.#restMs === 0;
    this.#restMs = Math.min(Math.max(restMs.first, this.#restMs * 2), restMs.longest);
    this.#restsUntilMs = nowMs + this.#restMs;
    return isFirst;
  }

  /** A timer was handled: the next rest is short again. */
  recovered(): void {
    this.#restMs = 0;
  }

  async #run(): Promise<void> {
    while (this.#isRunning) {
      this.#isWoken = false;
      const waitMs = await this.#claim().catch((error) => {
        this.#options.onError(error);
        return errorPauseMs;
      });
      if (this.#isRunning) await this.#sleep(waitMs);
    }
  }

  /** Claims what is due; answers how long there is nothing to do. */
  async #claim(): Promise<number> {
    const { store, space, owner, clock, leaseMs, atOnceMax } = this.#options;
    const free = atOnceMax - this.#inFlight.size;
    if (free <= 0) return longestWaitMs;
    const restsMs = this.#restsUntilMs - clock.monotonicMs();
    if (restsMs > 0) return restsMs;
    await this.#release();
    // Looked at before it is claimed: a look costs microseconds, a claim a commit.
    const nextMs = await store.nextTimerAt(space);
    if (!this.#isRunning) return 0;
    const nowMs = clock.now();
    if (nextMs === undefined) return longestWaitMs;
    if (nextMs > nowMs) return nextMs - nowMs;
    // A name for each claim: the answer of one may be lost.
    const claimant = `${owner} ${++this.#claims}`;
    this.#unanswered = claimant;
    const timers = await store.claimTimers({ space, owner: claimant, nowMs, max: free, leaseMs });
    this.#unanswered = undefined;
    for (const timer of timers) this.#handle(timer);
    return 0;
  }

  async #release(): Promise<void> {
    if (this.#unanswered === undefined) return;
    await this.#options.store.releaseOwner(this.#unanswered);
    this.#unanswered = undefined;
  }

  #handle(timer: Timer): void {
    const work = this.#options
      .handle(timer)
      .catch((error) => this.#giveBack(timer, error))
      .finally(() => {
        const wasFull = this.#inFlight.size >= this.#options.atOnceMax;
        this.#inFlight.delete(work);
        if (wasFull) this.#poke();
      });
    this.#inFlight.add(work);
  }

  /** Nobody else is to wait until the claim ends. */
  async #giveBack(timer: Timer, error: unknown): Promise<void> {
    const { onError } = this.#options;
    onError(error);
    await this.#pause();
    await this.end(againAt(timer, timer.dueAtMs)).catch(onError);
  }

  #pause(): Promise<void> {
    return sleep(this.#options.clock, errorPauseMs, this.#stopping.signal);
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
      // Rounded up: an alarm of a fraction too early would be one more look for nothing.
      const delayMs = Math.ceil(Math.min(waitMs, longestWaitMs));
      this.#alarm = this.#options.clock.setTimer(delayMs, () => this.#wake(), { background: true });
    });
  }
}

/** What ends the claim of a timer for good. */
export function over({ space, id, claim }: Timer): Extract<Mutation, { kind: "timerDone" }> {
  return { kind: "timerDone", timer: { space, id, claim } };
}

/** What ends the claim of a timer that is due again; without data it keeps its own. */
export function againAt(timer: Timer, dueAtMs: number, data?: Uint8Array): Mutation {
  return { ...over(timer), dueAtMs, ...(data !== undefined && { data }) };
}
