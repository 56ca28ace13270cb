import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { Verdict } from "./limiter.ts";

export interface Wait {
  take(): Verdict | Promise<Verdict>;
  /** What is said when the time is over. */
  refusal: Verdict;
  maxWaitMs: number;
  /** Refused as soon as it is known that the time is not enough. */
  leavesEarly: boolean;
  signal: AbortSignal | undefined;
}

interface Waiter extends Wait {
  untilMs: number;
  end(verdict: Verdict): void;
}

/** A store that is asked again and again must not be asked all the time. */
const shortestMs = 1;

/** Those who wait for the same limits with the same keys, in the order they came. */
export class Line {
  readonly #clock: Clock;
  readonly #onEmpty: () => void;
  readonly #waiters: Waiter[] = [];
  #isServing = false;
  #timer: ClockTimer | undefined;
  #wake: (() => void) | undefined;

  constructor(clock: Clock, onEmpty: () => void) {
    this.#clock = clock;
    this.#onEmpty = onEmpty;
  }

  get length(): number {
    return this.#waiters.length;
  }

  join(wait: Wait): Promise<Verdict> {
    return new Promise((resolve) => {
      const leave = (): void => this.#leave(waiter);
      const timer = this.#clock.setTimer(wait.maxWaitMs, leave, { background: true });
      const waiter: Waiter = {
        ...wait,
        untilMs: this.#clock.monotonicMs() + wait.maxWaitMs,
        end(verdict) {
          timer.cancel();
          wait.signal?.removeEventListener("abort", leave);
          resolve(verdict);
        },
      };
      wait.signal?.addEventListener("abort", leave, { once: true });
      this.#waiters.push(waiter);
      if (wait.signal?.aborted) leave();
      if (!this.#isServing) void this.#serve();
    });
  }

  endIfEmpty(): void {
    if (this.#waiters.length === 0 && !this.#isServing) this.#onEmpty();
  }

  async #serve(): Promise<void> {
    this.#isServing = true;
    for (let head = this.#waiters[0]; head !== undefined; head = this.#waiters[0]) {
      const verdict = await this.#take(head);
      // Its time may have ended meanwhile: then what it got is spent for nothing.
      if (head !== this.#waiters[0]) continue;
      const waitMs = verdict.taken?.waitMs ?? 0;
      const isLate = head.leavesEarly && this.#clock.monotonicMs() + waitMs > head.untilMs;
      if (verdict.isAllowed || isLate) this.#end(head, { ...verdict, hasWaited: true });
      else await this.#pause(Math.max(shortestMs, waitMs));
    }
    this.#isServing = false;
    this.#onEmpty();
  }

  async #take(head: Waiter): Promise<Verdict> {
    try {
      return await head.take();
    } catch {
      return head.refusal;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#clock.setTimer(Math.ceil(ms), resolve, { background: true });
    });
  }

  #leave(waiter: Waiter): void {
    this.#end(waiter, { ...waiter.refusal, hasWaited: true });
  }

  #end(waiter: Waiter, verdict: Verdict): void {
    const index = this.#waiters.indexOf(waiter);
    if (index < 0) return;
    this.#waiters.splice(index, 1);
    waiter.end(verdict);
    // Whoever is at the head now has waits of its own.
    if (index > 0) return;
    this.#timer?.cancel();
    this.#wake?.();
  }
}
