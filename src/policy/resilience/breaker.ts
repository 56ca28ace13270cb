import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../../edges/clock.ts";
import type { Trip } from "./trip.ts";

export interface BreakerSpec {
  /** Calls let through while half open; as many successes close it. */
  probesMax: number;
  /** How often a closed breaker forgets its counts; 0: never. */
  clearMs: number;
  /** How long it stays open. */
  openMs: number;
  /** A CEL expression over the counts; empty: more than five failures in a row. */
  trip: string;
}

export type BreakerState = "closed" | "half-open" | "open";

export interface BreakerCounts {
  requests: number;
  totalSuccesses: number;
  totalFailures: number;
  consecutiveSuccesses: number;
  consecutiveFailures: number;
}

/** The breaker lets no call through. No retry helps: the text is part of the wire contract. */
export class BreakerOpen extends Error {
  constructor(message: "circuit breaker is open" | "too many requests") {
    super(message);
    this.name = "BreakerOpen";
  }
}

/** A permission to call; the outcome is told once. */
export interface Passage {
  succeeded(): void;
  failed(): void;
  /** The caller has left before there was an outcome: that says nothing of the target. */
  abandoned(): void;
}

/**
 * A circuit breaker: closed until the trip condition holds, then open for a while, then half open for a few probes.
 * Outcomes of calls that began before the last change of state do not count.
 */
export class Breaker {
  readonly #spec: BreakerSpec;
  readonly #clock: Clock;
  readonly #trip: Trip;
  #changed: (state: BreakerState) => void;
  #state: BreakerState = "closed";
  #generation = 0;
  #counts = noCounts();
  /** When a closed breaker forgets, or an open one becomes half open. */
  #endsAtMs: number;

  constructor(spec: BreakerSpec, parts: { clock: Clock; trip: Trip; changed(state: BreakerState): void }) {
    this.#spec = spec;
    this.#clock = parts.clock;
    this.#trip = parts.trip;
    this.#changed = parts.changed;
    this.#endsAtMs = this.#closedUntilMs();
  }

  isMadeBy(spec: BreakerSpec): boolean {
    return isDeepStrictEqual(this.#spec, spec);
  }

  /** Changes of state are told to somebody else from now on. */
  tell(changed: (state: BreakerState) => void): void {
    this.#changed = changed;
  }

  get state(): BreakerState {
    this.#refresh();
    return this.#state;
  }

  /** Throws BreakerOpen when the call may not be made. */
  enter(): Passage {
    this.#refresh();
    if (this.#state === "open") throw new BreakerOpen("circuit breaker is open");
    const isFull = this.#counts.requests >= this.#spec.probesMax;
    if (this.#state === "half-open" && isFull) throw new BreakerOpen("too many requests");
    this.#counts.requests++;
    const generation = this.#generation;
    return {
      succeeded: () => this.#succeeded(generation),
      failed: () => this.#failed(generation),
      abandoned: () => this.#abandoned(generation),
    };
  }

  #succeeded(generation: number): void {
    this.#refresh();
    if (generation !== this.#generation) return;
    const counts = this.#counts;
    counts.totalSuccesses++;
    counts.consecutiveSuccesses++;
    counts.consecutiveFailures = 0;
    const isHealed = this.#state === "half-open" && counts.consecutiveSuccesses >= this.#spec.probesMax;
    if (isHealed) this.#become("closed", this.#closedUntilMs());
  }

  #failed(generation: number): void {
    this.#refresh();
    if (generation !== this.#generation) return;
    const counts = this.#counts;
    counts.totalFailures++;
    counts.consecutiveFailures++;
    counts.consecutiveSuccesses = 0;
    if (this.#state === "half-open" || this.#trip(counts)) {
      this.#become("open", this.#clock.monotonicMs() + this.#spec.openMs);
    }
  }

  /** As if it had not been let in: a probe's place is free again. */
  #abandoned(generation: number): void {
    this.#refresh();
    if (generation === this.#generation) this.#counts.requests--;
  }

  #refresh(): void {
    if (this.#clock.monotonicMs() < this.#endsAtMs) return;
    if (this.#state === "open") this.#become("half-open", Number.POSITIVE_INFINITY);
    else if (this.#state === "closed") this.#renew(this.#closedUntilMs());
  }

  #become(state: BreakerState, endsAtMs: number): void {
    this.#state = state;
    this.#renew(endsAtMs);
    this.#changed(state);
  }

  #renew(endsAtMs: number): void {
    this.#generation++;
    this.#counts = noCounts();
    this.#endsAtMs = endsAtMs;
  }

  #closedUntilMs(): number {
    const { clearMs } = this.#spec;
    return clearMs > 0 ? this.#clock.monotonicMs() + clearMs : Number.POSITIVE_INFINITY;
  }
}

function noCounts(): BreakerCounts {
  return {
    requests: 0,
    totalSuccesses: 0,
    totalFailures: 0,
    consecutiveSuccesses: 0,
    consecutiveFailures: 0,
  };
}
