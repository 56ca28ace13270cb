import { Code, errors, type Fault } from "../../errors.ts";
import type { Job } from "./engine.ts";
import { begin, type Plan } from "./plan.ts";
import { parseMoment, parseSchedule, ScheduleError } from "./schedule.ts";

/** The plan of a job (dapr-api.md §9.1). Throws the faults of a job that can not be. */
export function planOf(job: Job, nowMs: number): Plan {
  const { name, schedule, dueTime, repeats, ttl } = job;
  if (name === "") throw errors.JOB_NAME_EMPTY();
  if (!schedule && !dueTime) throw errors.JOB_SCHEDULE_EMPTY();
  try {
    if (schedule) parseSchedule(schedule);
    checkRepeats(repeats, schedule);
    const firstMs = dueTime ? parseMoment(dueTime, nowMs) : undefined;
    const expiresAtMs = ttl ? expiryOf(ttl, schedule, firstMs, nowMs) : undefined;
    const plan: Plan = {
      startMs: nowMs,
      firstMs,
      schedule: schedule || undefined,
      repeats,
      expiresAtMs,
      policy: job.failurePolicy,
    };
    if (begin(plan) === undefined) throw new ScheduleError("the schedule never comes");
    return plan;
  } catch (error) {
    if (error instanceof ScheduleError) throw refused(error.message);
    throw error;
  }
}

/** As the scheduler's own status reads inside daprd's text. */
export function refused(why: string): Fault {
  return errors.JOB_SCHEDULE(`rpc error: code = InvalidArgument desc = ${why}`, {
    http: 400,
    grpc: Code.InvalidArgument,
  });
}

function checkRepeats(repeats: number | undefined, schedule: string | undefined): void {
  if (repeats === undefined) return;
  if (repeats < 1) throw new ScheduleError("repeats must be greater than 0");
  if (!schedule && repeats !== 1) throw new ScheduleError("repeats can only be set with a schedule");
}

function expiryOf(
  ttl: string,
  schedule: string | undefined,
  firstMs: number | undefined,
  nowMs: number,
): number {
  if (!schedule) throw new ScheduleError("ttl can only be set with a schedule");
  const at = parseMoment(ttl, nowMs);
  if (at <= nowMs) throw new ScheduleError("ttl has to be in the future");
  if (firstMs !== undefined && at < firstMs) throw new ScheduleError("ttl has to be after the due time");
  return at;
}
