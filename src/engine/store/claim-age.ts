import type { Clock } from "../../edges/clock.ts";

/** A process that works does not take as long to get its answer: leases that are shorter end while it has it. */
const pauseMs = 1_000;

/**
 * Until when, on the monotonic clock, something that is claimed now may be begun. A process that stood still for longer
 * than the lease holds nothing any more, though it has the answer: somebody else may have done the work.
 */
export function freshUntilMs(clock: Clock, leaseMs: number): number {
  return clock.monotonicMs() + Math.max(leaseMs, pauseMs);
}
