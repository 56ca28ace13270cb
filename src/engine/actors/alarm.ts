import type { Plan } from "../jobs/plan.ts";
import { parseMoment, parsePeriod, ScheduleError } from "../jobs/schedule.ts";
import type { Alarm } from "./engine.ts";

/** When a timer or reminder fires (dapr-api.md §8.6). Throws ScheduleError. */
export function alarmPlan(alarm: Pick<Alarm, "dueTime" | "period" | "ttl">, nowMs: number): Plan {
  const firstMs = alarm.dueTime === "" ? nowMs : parseMoment(alarm.dueTime, nowMs);
  const plan: Plan = { startMs: nowMs, firstMs };
  if (alarm.period !== "") {
    const { intervalMs, repeats } = parsePeriod(alarm.period);
    if (intervalMs > 0) plan.intervalMs = intervalMs;
    if (repeats !== undefined) plan.repeats = repeats;
  }
  if (alarm.ttl !== "") {
    plan.expiresAtMs = parseMoment(alarm.ttl, firstMs);
    if (plan.expiresAtMs < Math.max(nowMs, firstMs)) {
      const due = new Date(firstMs).toISOString();
      throw new ScheduleError(`it has already expired: dueTime: ${due} TTL: ${alarm.ttl}`);
    }
  }
  return plan;
}
