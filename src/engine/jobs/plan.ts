import { every, parseSchedule, type Schedule } from "./schedule.ts";

/** What happens after a delivery failed. */
export type FailurePolicy = { drop: true } | { intervalMs: number; maxRetries?: number | undefined };

/** Dapr's default: three tries more, a second apart. */
export const defaultFailurePolicy: FailurePolicy = { intervalMs: 1000, maxRetries: 3 };

/** When something fires, as it is stored. Short names: there may be a million of them. */
export interface Plan {
  /** When it was made: the grid of intervals without a due time. */
  startMs: number;
  /** The first occurrence, when a due time was given. */
  firstMs?: number | undefined;
  /** Cron text or `@every`. */
  schedule?: string | undefined;
  /** Of reminders. */
  intervalMs?: number | undefined;
  repeats?: number | undefined;
  expiresAtMs?: number | undefined;
  policy?: FailurePolicy | undefined;
}

/** How far a plan has got. */
export interface Progress {
  /** The occurrence that is due or being retried. */
  occurrenceMs: number;
  /** When to deliver: the occurrence, or later for a retry. */
  dueAtMs: number;
  /** Occurrences that are over. */
  fired: number;
  /** Failed deliveries of this occurrence. */
  failures: number;
}

/** Where a new plan begins; `undefined` when it never fires. */
export function begin(plan: Plan): Progress | undefined {
  const firstMs = plan.firstMs ?? scheduleOf(plan)?.next(plan.startMs, plan.startMs);
  if (firstMs === undefined || isOver(plan, firstMs, 0)) return undefined;
  return { occurrenceMs: firstMs, dueAtMs: firstMs, fired: 0, failures: 0 };
}

/**
 * The occurrence after a delivered (or given up) one; `undefined`: it was the last. Occurrences that passed while
 * nobody could run them are one: a machine that slept for a day does not fire 86,400 times.
 */
export function advance(plan: Plan, progress: Progress, nowMs: number): Progress | undefined {
  const { occurrenceMs } = progress;
  const fired = progress.fired + 1;
  const nextMs = scheduleOf(plan)?.next(Math.max(nowMs, occurrenceMs), occurrenceMs);
  if (nextMs === undefined || isOver(plan, nextMs, fired)) return undefined;
  return { occurrenceMs: nextMs, dueAtMs: nextMs, fired, failures: 0 };
}

/** After a failed delivery: the same occurrence again, or the next one when the policy gives up. */
export function retry(plan: Plan, progress: Progress, nowMs: number): Progress | undefined {
  const policy = plan.policy ?? defaultFailurePolicy;
  const failures = progress.failures + 1;
  if ("drop" in policy) return advance(plan, progress, nowMs);
  if (policy.maxRetries !== undefined && failures > policy.maxRetries) return advance(plan, progress, nowMs);
  return { ...progress, failures, dueAtMs: nowMs + policy.intervalMs };
}

export function isExpired({ expiresAtMs }: Plan, nowMs: number): boolean {
  return expiresAtMs !== undefined && nowMs >= expiresAtMs;
}

function isOver(plan: Plan, nextMs: number, fired: number): boolean {
  if (plan.expiresAtMs !== undefined && nextMs >= plan.expiresAtMs) return true;
  return plan.repeats !== undefined && fired >= plan.repeats;
}

function scheduleOf({ schedule, intervalMs }: Plan): Schedule | undefined {
  if (schedule !== undefined) return parseSchedule(schedule);
  return intervalMs === undefined ? undefined : every(intervalMs);
}
