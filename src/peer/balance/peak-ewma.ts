import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { Algorithm } from "./algorithm.ts";
import { betterOfTwo } from "./random-choice.ts";
import type { Upstream } from "./upstream.ts";

const decayMs = 10_000;
/** Of one that has not answered yet. */
const unknownRttMs = 10;

/**
 * The cheaper of two, by latency times calls under way. A slow answer counts in full at once, faster ones bring the
 * average down little by little, and so does time: who was slow is tried again.
 */
export class PeakEwma implements Algorithm {
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  choose(candidates: readonly Upstream[]): Upstream {
    const nowMs = this.#clock.monotonicMs();
    return betterOfTwo(candidates, this.#random, (upstream) => costOf(upstream, nowMs));
  }

  weigh(upstream: Upstream): number {
    return 1 / Math.max(costOf(upstream, this.#clock.monotonicMs()), 1e-3);
  }
}

export function recordRtt(upstream: Upstream, rttMs: number, nowMs: number): void {
  const known = upstream.rttMs;
  if (known === undefined || rttMs > known) upstream.rttMs = rttMs;
  else {
    const kept = Math.exp(-(nowMs - upstream.rttAtMs) / decayMs);
    upstream.rttMs = known * kept + rttMs * (1 - kept);
  }
  upstream.rttAtMs = nowMs;
}

function costOf({ rttMs, rttAtMs, active }: Upstream, nowMs: number): number {
  const rtt = rttMs === undefined ? unknownRttMs : rttMs * Math.exp(-(nowMs - rttAtMs) / decayMs);
  return rtt * (active + 1);
}
