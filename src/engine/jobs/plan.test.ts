import { expect, test } from "bun:test";
import { advance, begin, type Plan, type Progress, retry } from "./plan.ts";

const hourMs = 3_600_000;
const startMs = Date.parse("2026-05-01T12:00:00Z");

function run(plan: Plan, steps: (progress: Progress) => Progress | undefined, max = 100): number[] {
  const dues: number[] = [];
  for (let at = begin(plan); at !== undefined && dues.length < max; at = steps(at))
    dues.push(at.dueAtMs - startMs);
  return dues;
}

test("a due time comes first, then the schedule from there", () => {
  const plan = { startMs, firstMs: startMs + 500, schedule: "@every 1s", repeats: 3 };
  expect(run(plan, (at) => advance(plan, at, at.dueAtMs))).toEqual([500, 1500, 2500]);
});

test("without a due time an interval waits first", () => {
  const plan = { startMs, schedule: "@every 1s", repeats: 2 };
  expect(run(plan, (at) => advance(plan, at, at.dueAtMs + 3))).toEqual([1000, 2000]);
});

test("nothing comes at or after the expiry", () => {
  const plan = { startMs, schedule: "@every 1s", expiresAtMs: startMs + 3000 };
  expect(run(plan, (at) => advance(plan, at, at.dueAtMs))).toEqual([1000, 2000]);
});

test("what a jump of the clock passed over is delivered once", () => {
  const plan = { startMs, schedule: "@every 1s" };
  const first = begin(plan) as Progress;
  const jumped = advance(plan, first, startMs + 24 * hourMs + 250);
  expect(jumped?.dueAtMs).toBe(startMs + 24 * hourMs + 1000);
  expect(jumped?.fired).toBe(1);
});

test("a clock set back makes nothing early", () => {
  const plan = { startMs, schedule: "0 0 * * * *" };
  const first = begin(plan) as Progress;
  expect(first.dueAtMs).toBe(startMs + hourMs);
  expect(advance(plan, first, startMs - hourMs)?.dueAtMs).toBe(startMs + 2 * hourMs);
});

test("failures are tried again by default three times a second apart, then the next occurrence comes", () => {
  const plan = { startMs, schedule: "@every 1m" };
  const dues = run(plan, (at) => retry(plan, at, at.dueAtMs), 6);
  expect(dues).toEqual([60_000, 61_000, 62_000, 63_000, 120_000, 121_000]);
});

test("a constant policy without a number tries for ever; drop never", () => {
  const forever: Plan = { startMs, firstMs: startMs, policy: { intervalMs: 10 } };
  expect(run(forever, (at) => retry(forever, at, at.dueAtMs), 50)).toHaveLength(50);
  const drop: Plan = { startMs, firstMs: startMs, policy: { drop: true } };
  expect(run(drop, (at) => retry(drop, at, at.dueAtMs))).toEqual([0]);
});
