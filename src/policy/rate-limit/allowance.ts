import type { Clock } from "../../edges/clock.ts";
import { type Algorithm, algorithmOf, type Rate } from "./algorithm.ts";
import { KeyedStates } from "./keyed-states.ts";

/** What became of asking for a place. */
export interface Taken {
  /** 0: taken; else in how many milliseconds it may be worth asking again. */
  waitMs: number;
  remaining: number;
  /** Until the key is as good as new. */
  resetMs: number;
  /** Nobody could count: the store of the shared counters was away. */
  isAway?: boolean;
}

/** One limit's places, by key. */
export interface Allowance {
  take(key: string, count: number): Taken | Promise<Taken>;
  giveBack(key: string, count: number): void;
}

/** Counted in this instance alone. */
export class OwnAllowance implements Allowance {
  readonly #clock: Clock;
  readonly #algorithm: Algorithm;
  readonly #states: KeyedStates;

  constructor(rate: Rate, { clock, seed }: { clock: Clock; seed: number }) {
    this.#clock = clock;
    this.#algorithm = algorithmOf(rate);
    this.#states = new KeyedStates(this.#algorithm, seed);
  }

  take(key: string, count: number): Taken {
    const nowMs = this.#clock.monotonicMs();
    const state = this.#states.of(key, nowMs);
    const algorithm = this.#algorithm;
    const waitMs = algorithm.take(state, nowMs, count);
    return {
      waitMs,
      remaining: algorithm.remaining(state, nowMs),
      resetMs: algorithm.resetMs(state, nowMs),
    };
  }

  giveBack(key: string, count: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#algorithm.giveBack(this.#states.of(key, nowMs), nowMs, count);
  }
}
