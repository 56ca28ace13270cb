import type { Clock } from "../../edges/clock.ts";

/** A process that works does not take as long to get its answer: leases that are shorter end while it has it. */
const pauseMs = 1_000;

/**
 * What was claimed, or `late` when the answer took as long as the lease: a process that stood still meanwhile holds
 * nothing any more, and somebody else may have done the work.
 */
export async function claimInTime<T>(
  clock: Clock,
  leaseMs: number,
  claim: () => Promise<T>,
  late: T,
): Promise<T> {
  const startedMs = clock.monotonicMs();
  const claimed = await claim();
  return clock.monotonicMs() - startedMs < Math.max(leaseMs, pauseMs) ? claimed : late;
}
