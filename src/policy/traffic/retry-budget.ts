import type { Clock } from "../../edges/clock.ts";
import type { RetryBudgetSpec } from "../../resource/traffic.ts";
import { SlidingCount } from "./sliding-count.ts";

const slots = 10;

/**
 * How many repeats (retries and hedges) may be under way at a target: a share of what is tried for the first time.
 * Envoy counts repeats among the active requests, so that 20 % lets 25 repeats join 100 first tries; here they are left out,
 * and the name says what an outage costs: 20 % is at most 1.2 times the load.
 */
export class RetryBudget {
  readonly #spec: RetryBudgetSpec;
  readonly #clock: Clock;
  readonly #begun: SlidingCount | undefined;
  readonly #repeated: SlidingCount | undefined;
  #active = 0;
  #retrying = 0;
  #repeats = 0;

  constructor(spec: RetryBudgetSpec, clock: Clock) {
    this.#spec = spec;
    this.#clock = clock;
    const { budgetIntervalMs } = spec;
    if (budgetIntervalMs <= 0) return;
    this.#begun = new SlidingCount(budgetIntervalMs, slots);
    this.#repeated = new SlidingCount(budgetIntervalMs, slots);
  }

  get repeats(): number {
    return this.#repeats;
  }

  /** A use begins; what is returned is called at its end. */
  enter(): () => void {
    this.#active++;
    this.#begun?.add(this.#clock.monotonicMs());
    return once(() => void this.#active--);
  }

  /** A repeat, from its pause to its end. `undefined`: there is no room. */
  take(kind: "retry" | "hedge"): (() => void) | undefined {
    const isRetry = kind === "retry";
    const nowMs = this.#clock.monotonicMs();
    // A use that is about to be tried again is no first try any more.
    const firsts = this.#active - this.#retrying - (isRetry ? 1 : 0);
    const base = Math.max(firsts, this.#begun?.total(nowMs) ?? 0);
    const used = Math.max(this.#repeats, this.#repeated?.total(nowMs) ?? 0);
    const allowed = Math.max(this.#spec.minRetryConcurrency, (this.#spec.percent / 100) * base);
    if (used + 1 > allowed) return undefined;
    this.#repeated?.add(nowMs);
    this.#repeats++;
    if (isRetry) this.#retrying++;
    return once(() => {
      this.#repeats--;
      if (isRetry) this.#retrying--;
    });
  }
}

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) work();
    isDone = true;
  };
}
