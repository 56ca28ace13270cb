// What the calendar does to times: daylight saving both ways, leap years, months of different lengths.
import { afterEach, describe, expect, test } from "bun:test";
import type { Runtime } from "./runtime.ts";
import { schedule, Timeline, type TimelineOptions } from "./timeline.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

const changes: { zone: string; at: string; time: string; daily: [string, string, string] }[] = [
  {
    zone: "Europe/Berlin",
    at: "2026-03-29T01:00:00Z",
    time: "30 2",
    daily: ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
  },
  {
    zone: "Europe/Berlin",
    at: "2026-10-25T01:00:00Z",
    time: "30 2",
    daily: ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
  },
  {
    zone: "America/New_York",
    at: "2026-03-08T07:00:00Z",
    time: "30 2",
    daily: ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
  },
  {
    zone: "America/New_York",
    at: "2026-11-01T06:00:00Z",
    time: "30 1",
    daily: ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
  },
];

let timeline: Timeline | undefined;
let came: { name: string; atMs: number }[] = [];

afterEach(async () => {
  await timeline?.close();
  timeline = undefined;
  came = [];
});

async function begin(options: Omit<TimelineOptions, "came">): Promise<Timeline> {
  const begun: Timeline = new Timeline({
    ...options,
    came: (name) => void came.push({ name, atMs: begun.clock.now() }),
  });
  timeline = begun;
  await begun.up();
  return begun;
}

/** A job made now. */
function job(runtime: Runtime, name: string, when: { schedule?: string; dueTime?: string; ttl?: string }) {
  return runtime.jobs.schedule({ name, ...when }, { overwrite: false });
}

function timesOf(name: string): string[] {
  return came.filter((other) => other.name === name).map(({ atMs }) => iso(atMs));
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

/** The steps after a moment. */
function steps(fromMs: number, everyMs: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => iso(fromMs + (index + 1) * everyMs));
}

describe.each(changes)("daylight saving of $zone at $at", ({ zone, at, time, daily }) => {
  const atMs = Date.parse(at);
  const cron = `TZ=${zone} 0 ${time} * * *`;
  const hourly = `TZ=${zone} 0 0 * * * *`;
  const daySchedule = schedule("schedule-daily", { schedule: cron });

  test("times of the day come once a day, hours are hours", async () => {
    const startMs = atMs - 26 * hourMs;
    const schedules = [daySchedule, schedule("schedule-hourly", { schedule: hourly })];
    const begun = await begin({ startMs, schedules });
    const { runtime } = begun;
    await job(runtime, "job-daily", { schedule: cron });
    await job(runtime, "job-hourly", { schedule: hourly });
    await job(runtime, "job-every", { schedule: "@every 24h" });
    await runtime.remind("reminder-every", "24h", "24h");
    await runtime.sleepUntil("workflow", atMs + hourMs / 2);
    await begun.passTo(daily[0]);
    await begun.passTo(iso(atMs - 3 * hourMs));
    await begun.pass(6 * hourMs);
    await begun.passTo(iso(startMs + 2 * dayMs));
    await begun.passTo(daily[2]);
    for (const kind of ["job", "schedule"]) {
      expect(timesOf(`${kind}-daily`)).toEqual(daily);
      const hours = timesOf(`${kind}-hourly`);
      const first = hours.indexOf(iso(atMs - 3 * hourMs));
      expect(hours.slice(first + 1, first + 7)).toEqual(steps(atMs - 3 * hourMs, hourMs, 6));
    }
    expect(timesOf("job-every")).toEqual(steps(startMs, dayMs, 2));
    expect(timesOf("reminder-every")).toEqual(steps(startMs, dayMs, 2));
    expect(timesOf("workflow")).toEqual([iso(atMs + hourMs / 2)]);
  });

  test("a runtime that was away during the change makes up for it once", async () => {
    const begun = await begin({ startMs: atMs - 2 * hourMs, schedules: [daySchedule], hasWorkflows: false });
    await job(begun.runtime, "job-daily", { schedule: cron });
    await begun.down();
    await begun.pass(4 * hourMs);
    await begun.up();
    await begun.pass(hourMs);
    await begun.passTo(daily[2]);
    const times = [iso(atMs + 2 * hourMs), daily[2]];
    expect(timesOf("job-daily")).toEqual(times);
    expect(timesOf("schedule-daily")).toEqual(times);
  });

  test("a clock that is set back after the time of the day brings it no second time", async () => {
    const startMs = atMs - 2 * hourMs;
    const begun = await begin({ startMs, schedules: [daySchedule], hasWorkflows: false });
    await job(begun.runtime, "job-daily", { schedule: cron });
    await begun.pass(Date.parse(daily[1]) + 60_000 - startMs);
    await begun.jump(-hourMs);
    await begun.pass(3 * hourMs);
    await begun.passTo(daily[2]);
    expect(timesOf("job-daily")).toEqual(daily.slice(1));
    expect(timesOf("schedule-daily")).toEqual(daily.slice(1));
  });
});

describe("the calendar", () => {
  test("29 February comes in leap years, 2100 is none", async () => {
    const leap = "0 0 0 29 2 *";
    const schedules = [schedule("schedule-leap", { schedule: leap })];
    const begun = await beginAt("2091-03-01T00:00:00Z", schedules);
    await job(begun.runtime, "job-leap", { schedule: leap });
    const years = [2092, 2096, 2104, 2108];
    for (let year = 2092; year <= 2108; year++) await begun.passTo(`${year}-03-01T00:00:00Z`);
    const leapDays = years.map((year) => iso(Date.parse(`${year}-03-01T00:00:00Z`) - dayMs));
    // Away on the day itself: made up for at the end of it.
    const times = leapDays.map((day) => iso(Date.parse(day) + dayMs - 1000));
    expect(timesOf("job-leap")).toEqual(times);
    expect(timesOf("schedule-leap")).toEqual(times);
    await begun.passTo("2112-02-29T00:00:00Z");
    expect(timesOf("job-leap").slice(years.length)).toEqual(["2112-02-29T00:00:00Z"]);
    expect(timesOf("schedule-leap").slice(years.length)).toEqual(["2112-02-29T00:00:00Z"]);
  });

  test.each([2027, 2028])("days are 24 hours, months as long as they are (February %d)", async (year) => {
    const start = `${year}-02-27T10:00:00Z`;
    const begun = await beginAt(start, [schedule("schedule-every", { everyMs: dayMs })]);
    const { runtime } = begun;
    await job(runtime, "job-every", { schedule: "@every 24h" });
    await job(runtime, "job-monthly", { schedule: "@monthly" });
    await job(runtime, "job-late", { schedule: "0 0 12 29-31 * *" });
    await runtime.remind("reminder-every", "24h", "24h");
    await begun.pass(3 * dayMs);
    for (const kind of ["job", "schedule", "reminder"])
      expect(timesOf(`${kind}-every`)).toEqual(steps(Date.parse(start), dayMs, 3));
    expect(timesOf("job-monthly")).toEqual([`${year}-03-01T00:00:00Z`]);
    expect(timesOf("job-late")).toEqual(year === 2028 ? ["2028-02-29T12:00:00Z"] : []);
  });

  test.each([
    ["P1M", "2027-01-31T12:00:00Z", "2027-03-03T12:00:00Z"],
    ["P1M", "2028-01-31T12:00:00Z", "2028-03-02T12:00:00Z"],
    ["P1Y", "2028-02-29T12:00:00Z", "2029-03-01T12:00:00Z"],
    ["P4Y", "2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"],
    ["P1MT1H", "2028-02-29T23:30:00Z", "2028-03-30T00:30:00Z"],
  ])("%s from %s is %s", async (period, from, to) => {
    const begun = await beginAt(from);
    await job(begun.runtime, "job", { dueTime: period });
    await begun.runtime.remind("reminder", period);
    await begun.passTo(iso(Date.parse(to) - 1000));
    expect(came).toEqual([]);
    await begun.pass(1000);
    expect(timesOf("job")).toEqual([to]);
    expect(timesOf("reminder")).toEqual([to]);
  });

  function beginAt(start: string, schedules: TimelineOptions["schedules"] = []): Promise<Timeline> {
    return begin({ startMs: Date.parse(start), schedules, hasWorkflows: false });
  }
});

describe("a time to live", () => {
  const startMs = Date.parse("2026-06-01T00:00:00Z");

  test("ends jobs and schedules by the wall clock", async () => {
    const schedules = [schedule("schedule", { everyMs: hourMs, ttlMs: 2.5 * hourMs })];
    const begun = await begin({ startMs, schedules, hasWorkflows: false });
    await job(begun.runtime, "job", { schedule: "@every 1h", ttl: "150m" });
    await begun.pass(1.5 * hourMs);
    await begun.jump(-hourMs);
    await begun.pass(dayMs);
    // What came at 1:00 does not come again, and at 2:30 it is over.
    const times = steps(startMs, hourMs, 2);
    expect(timesOf("job")).toEqual(times);
    expect(timesOf("schedule")).toEqual(times);
  });

  test("that was jumped over: the job is over, the schedule runs for the last time that was within", async () => {
    const occurrences: (number | undefined)[] = [];
    const schedules = [schedule("schedule", { everyMs: hourMs, ttlMs: 3.5 * hourMs })];
    timeline = new Timeline({
      startMs,
      schedules,
      hasWorkflows: false,
      came: (name, occurrenceMs) =>
        void (name === "schedule" ? occurrences.push(occurrenceMs) : came.push({ name, atMs: 0 })),
    });
    await timeline.up();
    await job(timeline.runtime, "job", { schedule: "@every 1h", ttl: "210m" });
    await timeline.jump(dayMs);
    await timeline.pass(dayMs);
    expect(occurrences).toEqual([startMs + 3 * hourMs]);
    expect(came).toEqual([]);
  });
});
