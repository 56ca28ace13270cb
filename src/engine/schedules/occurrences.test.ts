import { describe, expect, test } from "bun:test";
import type { ScheduleSpec } from "../../resource/resource.ts";
import { begin, type Progress } from "../jobs/plan.ts";
import { dueAt, planOf } from "./occurrences.ts";

const startMs = Date.UTC(2026, 2, 1);
const minuteMs = 60_000;

function specOf(changes: Partial<ScheduleSpec>): ScheduleSpec {
  return {
    contentType: "application/json",
    to: { kind: "topic", pubsub: "pubsub", topic: "t", metadata: {} },
    delivery: {
      retry: 0,
      backoffPolicy: "linear",
      backoffDelayMs: 1,
      maxDelayMs: 1,
      timeoutMs: 1,
    },
    concurrencyPolicy: "Allow",
    catchUp: { kind: "last" },
    suspend: false,
    singleton: false,
    ...changes,
  };
}

function look(changes: Partial<ScheduleSpec>, nowMs: number) {
  const spec = specOf(changes);
  const plan = planOf(spec, startMs);
  const { run, next } = dueAt(spec, plan, begin(plan) as Progress, nowMs);
  const minutes = (ms: number | undefined) => (ms === undefined ? undefined : (ms - startMs) / minuteMs);
  return { run: run.map(minutes), next: minutes(next?.occurrenceMs) };
}

describe("dueAt()", () => {
  const everyMinute = { everyMs: minuteMs };
  const cron = { schedule: "0 * * * * *" };
  const lateMs = startMs + 100.5 * minuteMs;

  test("runs what is due now, and says what is next", () => {
    expect(look(everyMinute, startMs + minuteMs)).toEqual({ run: [1], next: 2 });
    expect(look(cron, startMs + minuteMs)).toEqual({ run: [1], next: 2 });
  });

  test("runs the last of the missed ones", () => {
    expect(look(everyMinute, lateMs)).toEqual({ run: [100], next: 101 });
    expect(look(cron, lateMs)).toEqual({ run: [100], next: 101 });
    const yearLater = startMs + 366 * 86_400_000;
    const everySecond = { schedule: "* * * * * *" };
    expect(look(everySecond, yearLater + 500)).toEqual({
      run: [(yearLater - startMs) / minuteMs],
      next: (yearLater - startMs + 1000) / minuteMs,
    });
  });

  test("runs all missed ones up to the limit, the newest", () => {
    const some = look({ ...cron, catchUp: { kind: "all", limit: 3 } }, lateMs);
    expect(some).toEqual({ run: [98, 99, 100], next: 101 });
  });

  test("runs no missed ones", () => {
    const none = { catchUp: { kind: "none" } } as const;
    expect(look({ ...cron, ...none }, lateMs)).toEqual({ run: [], next: 101 });
    expect(look({ ...cron, ...none }, startMs + minuteMs + 500)).toEqual({ run: [1], next: 2 });
  });

  test("passes over what is beyond the starting deadline", () => {
    const all = { ...cron, catchUp: { kind: "all", limit: 100 } } as const;
    expect(look({ ...all, startingDeadlineMs: 2 * minuteMs }, lateMs)).toEqual({ run: [99, 100], next: 101 });
    expect(look({ ...cron, startingDeadlineMs: 1000 }, lateMs)).toEqual({ run: [], next: 101 });
  });

  test("runs nothing that is suspended, and goes on", () => {
    expect(look({ ...cron, suspend: true }, startMs + minuteMs)).toEqual({ run: [], next: 2 });
  });

  test("ends after the repeats and with the time to live", () => {
    expect(look({ ...cron, repeats: 1 }, startMs + minuteMs)).toEqual({ run: [1], next: undefined });
    const ttl = look({ ...cron, ttlMs: 1.5 * minuteMs }, startMs + minuteMs);
    expect(ttl).toEqual({ run: [1], next: undefined });
    expect(look({ ...cron, ttlMs: 3.5 * minuteMs }, lateMs)).toEqual({ run: [3], next: undefined });
    const all = { ...cron, catchUp: { kind: "all", limit: 2 }, ttlMs: 3.5 * minuteMs } as const;
    expect(look(all, lateMs)).toEqual({ run: [2, 3], next: undefined });
  });

  test("keeps to the wall clock of its time zone when the clocks change", () => {
    const berlin = { schedule: "TZ=Europe/Berlin 0 30 8 * * *" };
    const spec = specOf(berlin);
    const plan = planOf(spec, Date.UTC(2026, 2, 28, 0));
    const first = begin(plan) as Progress;
    expect(new Date(first.occurrenceMs).toISOString()).toBe("2026-03-28T07:30:00.000Z");
    const { next } = dueAt(spec, plan, first, first.occurrenceMs);
    expect(new Date(next?.occurrenceMs ?? 0).toISOString()).toBe("2026-03-29T06:30:00.000Z");
  });
});
