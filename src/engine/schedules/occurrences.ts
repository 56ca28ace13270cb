import type { ScheduleSpec } from "../../resource/resource.ts";
import { advance, type Plan, type Progress } from "../jobs/plan.ts";
import { every, parseSchedule, type Schedule } from "../jobs/schedule.ts";

/** What one look at a due schedule comes to. */
export interface Due {
  /** Occurrences to run, oldest first. */
  run: number[];
  /** `undefined`: there is no further one. */
  next: Progress | undefined;
}

/** Later than this an occurrence counts as missed, unless `startingDeadline` says otherwise. */
const missedAfterMs = 10_000;
const walkMax = 10_000;

/** The plan of a schedule that begins at a moment. */
export function planOf(spec: ScheduleSpec, startMs: number): Plan {
  const { schedule, everyMs, afterMs, atMs, repeats, ttlMs } = spec;
  if (schedule !== undefined) parseSchedule(schedule);
  return {
    startMs,
    firstMs: atMs ?? (afterMs === undefined ? undefined : startMs + afterMs),
    schedule,
    intervalMs: everyMs,
    repeats,
    expiresAtMs: ttlMs === undefined ? undefined : startMs + ttlMs,
  };
}

/** Which occurrences run now, by the catch-up rule, and which is next. */
export function dueAt(spec: ScheduleSpec, plan: Plan, progress: Progress, nowMs: number): Due {
  const due = spec.catchUp.kind === "all" ? allOf(plan, progress, nowMs) : lastOf(plan, progress, nowMs);
  const latestMs = spec.startingDeadlineMs ?? (spec.catchUp.kind === "none" ? missedAfterMs : Infinity);
  const limit = spec.catchUp.kind === "all" ? spec.catchUp.limit : 1;
  const inTime = due.run.filter((occurrenceMs) => nowMs - occurrenceMs <= latestMs);
  return { run: spec.suspend ? [] : inTime.slice(-limit), next: due.next };
}

function allOf(plan: Plan, progress: Progress, nowMs: number): Due {
  const run: number[] = [];
  let next: Progress | undefined = progress;
  while (next !== undefined && next.occurrenceMs <= nowMs) {
    run.push(next.occurrenceMs);
    // A schedule of every second that slept for days: what lies between is more than any limit.
    const fromMs: number = run.length < walkMax ? next.occurrenceMs : nowMs;
    next = advance(plan, next, fromMs);
  }
  return { run, next };
}

function lastOf(plan: Plan, progress: Progress, nowMs: number): Due {
  const schedule = scheduleOf(plan);
  const untilMs = Math.min(nowMs, (plan.expiresAtMs ?? Infinity) - 1);
  const lastMs = schedule === undefined ? progress.occurrenceMs : latest(schedule, progress, untilMs);
  return { run: [lastMs], next: advance(plan, { ...progress, occurrenceMs: lastMs }, nowMs) };
}

/** The newest occurrence that is not after now: looked for from ever further back, so that few are walked through. */
function latest(schedule: Schedule, { occurrenceMs }: Progress, nowMs: number): number {
  for (let backMs = 1000; nowMs - backMs > occurrenceMs; backMs *= 8) {
    const found = schedule.next(nowMs - backMs, occurrenceMs);
    if (found !== undefined && found <= nowMs) return walk(schedule, found, nowMs);
  }
  return walk(schedule, occurrenceMs, nowMs);
}

function walk(schedule: Schedule, fromMs: number, nowMs: number): number {
  let foundMs = fromMs;
  for (let steps = 0; steps < walkMax; steps++) {
    const nextMs = schedule.next(foundMs, foundMs);
    if (nextMs === undefined || nextMs > nowMs) return foundMs;
    foundMs = nextMs;
  }
  return foundMs;
}

function scheduleOf({ schedule, intervalMs }: Plan): Schedule | undefined {
  if (schedule !== undefined) return parseSchedule(schedule);
  return intervalMs === undefined ? undefined : every(intervalMs);
}
