import { describe, expect, test } from "bun:test";
import { every, parseMoment, parsePeriod, parseSchedule, ScheduleError } from "./schedule.ts";

function occurrences(text: string, from: string, count: number): string[] {
  const schedule = parseSchedule(text);
  const found: string[] = [];
  for (let at = Date.parse(from), i = 0; i < count; i++) {
    at = schedule.next(at, at) ?? Number.NaN;
    found.push(new Date(at).toISOString());
  }
  return found;
}

describe("cron", () => {
  test("has seconds first, and is UTC unless it says otherwise", () => {
    expect(occurrences("30 0 9 * * 1-5", "2026-01-02T09:00:00Z", 2)).toEqual([
      "2026-01-02T09:00:30.000Z",
      "2026-01-05T09:00:30.000Z",
    ]);
    expect(occurrences("CRON_TZ=America/New_York 0 0 9 * * *", "2026-01-01T00:00:00Z", 1)).toEqual([
      "2026-01-01T14:00:00.000Z",
    ]);
    expect(occurrences("@daily", "2026-01-01T10:00:00Z", 1)).toEqual(["2026-01-02T00:00:00.000Z"]);
  });

  test("a time that the clock skips in spring comes at the end of the gap", () => {
    expect(occurrences("TZ=Europe/Berlin 0 30 2 * * *", "2026-03-28T12:00:00Z", 2)).toEqual([
      "2026-03-29T01:00:00.000Z",
      "2026-03-30T00:30:00.000Z",
    ]);
  });

  test("a time that comes twice in autumn counts once, an hourly one each hour", () => {
    expect(occurrences("TZ=Europe/Berlin 0 30 2 * * *", "2026-10-24T12:00:00Z", 2)).toEqual([
      "2026-10-25T00:30:00.000Z",
      "2026-10-26T01:30:00.000Z",
    ]);
    expect(occurrences("TZ=Europe/Berlin 0 0 * * * *", "2026-10-24T23:30:00Z", 3)).toEqual([
      "2026-10-25T00:00:00.000Z",
      "2026-10-25T01:00:00.000Z",
      "2026-10-25T02:00:00.000Z",
    ]);
  });

  test("each time of a list or a range counts once a day, and those that spring skips are one", () => {
    expect(occurrences("TZ=Europe/Berlin 0 30 2,14 * * *", "2026-03-28T20:00:00Z", 2)).toEqual([
      "2026-03-29T01:00:00.000Z",
      "2026-03-29T12:30:00.000Z",
    ]);
    expect(occurrences("TZ=Europe/Berlin 0 0,30 1-3 * * *", "2026-03-28T20:00:00Z", 4)).toEqual([
      "2026-03-29T00:00:00.000Z",
      "2026-03-29T00:30:00.000Z",
      "2026-03-29T01:00:00.000Z",
      "2026-03-29T01:30:00.000Z",
    ]);
    expect(occurrences("TZ=Europe/Berlin 0 30 2-3 * * *", "2026-10-24T20:00:00Z", 2)).toEqual([
      "2026-10-25T00:30:00.000Z",
      "2026-10-25T02:30:00.000Z",
    ]);
  });

  test("minutes with a star go by the clock: an hour that spring skips has none, one that comes twice has both", () => {
    expect(occurrences("TZ=Europe/Berlin 0 */30 2 * * *", "2026-03-28T12:00:00Z", 1)).toEqual([
      "2026-03-30T00:00:00.000Z",
    ]);
    expect(occurrences("TZ=Europe/Berlin 0 */30 2 * * *", "2026-10-24T12:00:00Z", 5)).toEqual([
      "2026-10-25T00:00:00.000Z",
      "2026-10-25T00:30:00.000Z",
      "2026-10-25T01:00:00.000Z",
      "2026-10-25T01:30:00.000Z",
      "2026-10-26T01:00:00.000Z",
    ]);
    expect(occurrences("TZ=Europe/Berlin 0 */30 * * * *", "2026-03-29T00:00:00Z", 3)).toEqual([
      "2026-03-29T00:30:00.000Z",
      "2026-03-29T01:00:00.000Z",
      "2026-03-29T01:30:00.000Z",
    ]);
  });

  test("29 February comes in leap years", () => {
    expect(occurrences("0 0 0 29 2 *", "2026-01-01T00:00:00Z", 2)).toEqual([
      "2028-02-29T00:00:00.000Z",
      "2032-02-29T00:00:00.000Z",
    ]);
  });

  test("a day that never is has no occurrence", () => {
    expect(parseSchedule("0 0 0 30 2 *").next(Date.now(), 0)).toBeUndefined();
  });

  test.each([
    "* * * * *",
    "61 * * * * *",
    "@now and then",
    "@every",
    "@every 0s",
    "@every soon",
    "TZ=No/Where 0 0 0 * * *",
  ])("refuses %p", (text) => {
    expect(() => parseSchedule(text)).toThrow(ScheduleError);
  });
});

test("an interval keeps to its grid, whatever was missed", () => {
  expect(every(100).next(1000, 1000)).toBe(1100);
  expect(every(100).next(1099, 1000)).toBe(1100);
  expect(every(100).next(1100, 1000)).toBe(1200);
  expect(every(100).next(987_654, 1000)).toBe(987_700);
  // The clock was set back: not early.
  expect(every(100).next(500, 1000)).toBe(1100);
  expect(parseSchedule("@every 1h30m").next(0, 0)).toBe(5_400_000);
});

test("moments are dates or durations", () => {
  const from = Date.parse("2026-01-31T12:00:00Z");
  expect(parseMoment("2026-02-01T00:00:00+01:00", from)).toBe(Date.parse("2026-01-31T23:00:00Z"));
  expect(parseMoment("1m30s", from)).toBe(from + 90_000);
  expect(parseMoment("PT5S", from)).toBe(from + 5000);
  expect(new Date(parseMoment("P1M", from)).toISOString()).toBe("2026-03-03T12:00:00.000Z");
  expect(new Date(parseMoment("P1Y", Date.parse("2028-02-29T00:00:00Z"))).toISOString()).toBe(
    "2029-03-01T00:00:00.000Z",
  );
  for (const text of ["tomorrow", "2026-13-01T00:00:00Z", "P"]) {
    expect(() => parseMoment(text, from)).toThrow(ScheduleError);
  }
});

test("periods may say how often", () => {
  expect(parsePeriod("R5/PT10S")).toEqual({ intervalMs: 10_000, repeats: 5 });
  expect(parsePeriod("500ms")).toEqual({ intervalMs: 500, repeats: undefined });
  expect(parsePeriod("R3")).toEqual({ intervalMs: 0, repeats: 3 });
  for (const text of ["R0/PT1S", "P1D", "P1M", "often"])
    expect(() => parsePeriod(text)).toThrow(ScheduleError);
});
