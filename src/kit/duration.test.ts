import { expect, test } from "bun:test";
import { formatDuration, parseDuration, parseIsoPeriod } from "./duration.ts";

test("parseDuration() reads Go's spellings", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["5s", 5000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    [".5s", 500],
    ["250ms", 250],
    ["-2m", -120_000],
    ["+1h", 3_600_000],
    ["1500us", 1.5],
    ["10µs", 0.01],
  ];
  for (const [text, ms] of cases) expect(parseDuration(text), text).toBeCloseTo(ms, 9);
});

test("parseDuration() reads ISO 8601", () => {
  const cases: [string, number][] = [
    ["PT5M", 300_000],
    ["P1D", 86_400_000],
    ["P1W", 604_800_000],
    ["PT0.5S", 500],
    ["P1DT1H", 90_000_000],
    ["-PT1S", -1000],
  ];
  for (const [text, ms] of cases) expect(parseDuration(text), text).toBe(ms);
});

test("parseDuration() refuses what neither knows", () => {
  for (const text of ["", "5", "s", "5 s", "1d", "5s ", ".s", "P", "PT", "P1H", "1h-5m", "∞", "5S"]) {
    expect(() => parseDuration(text), text).toThrow("invalid duration");
  }
});

test("parseDuration() refuses years and months", () => {
  expect(() => parseDuration("P1M")).toThrow("no fixed length");
  expect(() => parseDuration("P2Y")).toThrow("no fixed length");
});

test("parseIsoPeriod() keeps calendar parts apart", () => {
  expect(parseIsoPeriod("P1Y2M1W3DT4H5M6.5S")).toEqual({
    years: 1,
    months: 2,
    days: 10,
    timeMs: 4 * 3_600_000 + 5 * 60_000 + 6500,
  });
});

test("formatDuration() writes as Go does", () => {
  const cases: [number, string][] = [
    [0, "0s"],
    [500, "500ms"],
    [5000, "5s"],
    [90_000, "1m30s"],
    [3_600_000, "1h0m0s"],
    [1500, "1.5s"],
    [0.25, "250µs"],
    [-60_000, "-1m0s"],
  ];
  for (const [ms, text] of cases) expect(formatDuration(ms)).toBe(text);
});
