import { expect, test } from "bun:test";
import { SimulatedClock } from "../../edges/simulated.ts";
import { Timeouts } from "./timeouts.ts";

test("Timeouts end in their order, with one timer of the clock", () => {
  const clock = new SimulatedClock();
  const timeouts = new Timeouts(clock, 100);
  const late: string[] = [];
  timeouts.start(() => late.push("a"));
  clock.advance(40);
  timeouts.start(() => late.push("b"));
  expect(clock.pendingTimers).toBe(1);
  clock.advance(60);
  expect(late).toEqual(["a"]);
  clock.advance(39);
  expect(late).toEqual(["a"]);
  clock.advance(1);
  expect([late, clock.pendingTimers]).toEqual([["a", "b"], 0]);
});

test("Timeouts forget what is cancelled, wherever it stands", () => {
  const clock = new SimulatedClock();
  const timeouts = new Timeouts(clock, 100);
  const late: number[] = [];
  const timers = [0, 1, 2, 3].map((n) => timeouts.start(() => late.push(n)));
  for (const n of [1, 0, 3, 3]) timers[n]?.cancel();
  clock.advance(100);
  expect(late).toEqual([2]);
  timeouts.start(() => late.push(4)).cancel();
  timeouts.start(() => late.push(5));
  clock.advance(100);
  expect(late).toEqual([2, 5]);
});

test("Timeouts that are started while others end wait their whole time", () => {
  const clock = new SimulatedClock();
  const timeouts = new Timeouts(clock, 100);
  const late: number[] = [];
  timeouts.start(() => void timeouts.start(() => late.push(clock.monotonicMs())));
  const startMs = clock.monotonicMs();
  clock.advance(100);
  expect(late).toEqual([]);
  clock.advance(100);
  expect(late).toEqual([startMs + 200]);
});
