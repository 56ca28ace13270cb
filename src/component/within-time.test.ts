import { expect, test } from "bun:test";
import { SimulatedClock } from "../edges/simulated.ts";
import { NoAnswer, withinTime } from "./within-time.ts";

test("withinTime() gives what comes in time, and leaves no timer", async () => {
  const clock = new SimulatedClock();
  expect(await withinTime(clock, 100, Promise.resolve("x"))).toBe("x");
  const failing = withinTime(clock, 100, Promise.reject(new Error("no")));
  expect(await failing.catch((e) => e.message)).toBe("no");
  expect(clock.pendingTimers).toBe(0);
});

test("withinTime() leaves what does not come, and does not hear of it any more", async () => {
  const clock = new SimulatedClock();
  const work = Promise.withResolvers<string>();
  let left = 0;
  const waiting = withinTime(clock, 100, work.promise, () => left++).catch((e) => e);
  clock.advance(100);
  const error = await waiting;
  expect(error).toBeInstanceOf(NoAnswer);
  expect([error.message, left]).toEqual(["no answer within 100 ms", 1]);
  work.reject(new Error("late"));
});
