// Schedules of jobs: whatever the text, it is a schedule or it is refused; and a schedule never comes early or twice.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { planOf } from "../../src/engine/jobs/check-job.ts";
import { advance, begin } from "../../src/engine/jobs/plan.ts";
import { parseSchedule, ScheduleError } from "../../src/engine/jobs/schedule.ts";
import { Fault } from "../../src/errors.ts";
import { runs } from "./settings.ts";

const zones = ["", "TZ=UTC ", "TZ=Europe/Berlin ", "CRON_TZ=America/New_York ", "TZ=Australia/Lord_Howe "];
const zone = fc.constantFrom(...zones);
const between = (min: number, max: number) => fc.integer({ min, max }).map(String);

/** A field of cron: a number, a range, a step, a list or all. */
function field(min: number, max: number): fc.Arbitrary<string> {
  const range = fc.tuple(fc.integer({ min, max }), fc.integer({ min, max })).map(([one, other]) => {
    return `${Math.min(one, other)}-${Math.max(one, other)}`;
  });
  const step = fc.integer({ min: 1, max: max - min || 1 }).map((size) => `*/${size}`);
  const list = fc.array(between(min, max), { minLength: 1, maxLength: 3 }).map((all) => all.join(","));
  return fc.oneof(fc.constant("*"), between(min, max), range, step, list);
}

const fields = [field(0, 59), field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)] as const;
const cron = fc.tuple(zone, fc.tuple(...fields)).map(([prefix, all]) => prefix + all.join(" "));
const interval = fc.integer({ min: 1, max: 400_000 }).map((seconds) => `@every ${seconds}s`);
const macro = fc.constantFrom("@yearly", "@monthly", "@weekly", "@daily", "@hourly", "@midnight");
const schedule = fc.oneof({ weight: 5, arbitrary: cron }, interval, macro);
/** Moments of all seasons, the hours in which clocks change among them. */
const moment = fc.oneof(
  fc.date({ min: new Date("2024-01-01"), max: new Date("2032-12-31"), noInvalidDate: true }).map(Number),
  fc
    .tuple(fc.constantFrom("2026-03-29T00:00Z", "2026-10-25T00:00Z", "2028-02-29T00:00Z"), fc.nat(7_200_000))
    .map(([text, offset]) => Date.parse(text) + offset),
);

test("a schedule comes after now, each time later, and as often as asked", () => {
  fc.assert(
    fc.property(schedule, moment, fc.integer({ min: 1, max: 12 }), (text, nowMs, repeats) => {
      const job = { name: "job", schedule: text, repeats };
      let plan: ReturnType<typeof planOf>;
      try {
        plan = planOf(job, nowMs);
      } catch (error) {
        // Such as 31 February.
        expect(error).toBeInstanceOf(Fault);
        expect((error as Fault).message).toContain("the schedule never comes");
        return;
      }
      let progress = begin(plan);
      let lastMs = nowMs;
      let count = 0;
      for (; progress !== undefined && count <= repeats; count++) {
        expect(progress.occurrenceMs).toBeGreaterThan(lastMs);
        expect(progress.dueAtMs).toBe(progress.occurrenceMs);
        lastMs = progress.occurrenceMs;
        progress = advance(plan, progress, lastMs);
      }
      expect(count).toBe(repeats);
    }),
    runs(1_000),
  );
});

test("what was passed over comes once, and later", () => {
  fc.assert(
    fc.property(schedule, moment, fc.integer({ min: 0, max: 90 * 86_400_000 }), (text, nowMs, asleepMs) => {
      let first: number | undefined;
      try {
        first = parseSchedule(text).next(nowMs, nowMs);
      } catch {
        return;
      }
      if (first === undefined) return;
      const progress = { occurrenceMs: first, dueAtMs: first, fired: 0, failures: 0 };
      const wakesMs = first + asleepMs;
      const next = advance({ startMs: nowMs, schedule: text }, progress, wakesMs);
      if (next !== undefined) expect(next.occurrenceMs).toBeGreaterThan(wakesMs);
    }),
    runs(500),
  );
});

test("any other text is refused with a reason", () => {
  const pieces = fc.constantFrom(
    "*",
    "/",
    "-",
    ",",
    "0",
    "61",
    "L",
    "W",
    "#",
    "?",
    "@every",
    "@",
    "TZ=",
    "x",
    "1h",
    " ",
  );
  const odd = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(pieces, { maxLength: 14 }).map((all) => all.join("")),
    fc.array(pieces, { minLength: 6, maxLength: 6 }).map((all) => all.join(" ")),
    fc.tuple(cron, fc.nat(), pieces).map(([text, at, piece]) => {
      const index = at % (text.length + 1);
      return text.slice(0, index) + piece + text.slice(index);
    }),
  );
  fc.assert(
    fc.property(odd, moment, (text, nowMs) => {
      try {
        const nextMs = parseSchedule(text).next(nowMs, nowMs);
        if (nextMs !== undefined) expect(nextMs).toBeGreaterThan(nowMs);
      } catch (error) {
        if (!(error instanceof ScheduleError)) throw error;
        expect(error.message).not.toBe("");
      }
    }),
    runs(3_000),
  );
});
