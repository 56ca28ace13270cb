import { describe, expect, test } from "bun:test";
import { realClock, sleep } from "./clock.ts";
import { realEdges } from "./edges.ts";
import { SimulatedClock } from "./simulated.ts";

describe("realClock", () => {
  test("calls back once, unless cancelled", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let cancelled = true;
    realClock.setTimer(1, () => (cancelled = false)).cancel();
    realClock.setTimer(2, resolve);
    await promise;
    expect(cancelled).toBe(true);
  });

  test("does not fire a delay of months at once", async () => {
    let fired = false;
    const timer = realClock.setTimer(2 ** 32, () => (fired = true), { background: true });
    await Bun.sleep(5);
    timer.cancel();
    expect(fired).toBe(false);
  });
});

describe("sleep()", () => {
  test("ends with the clock or with the signal", async () => {
    const clock = new SimulatedClock();
    const abort = new AbortController();
    const timed = sleep(clock, 100);
    const aborted = sleep(clock, 100_000, abort.signal);
    clock.advance(100);
    await timed;
    abort.abort();
    await aborted;
    await sleep(clock, 100_000, abort.signal);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("realEdges()", () => {
  test("gives the machine's time and chance", () => {
    const { clock, random } = realEdges();
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1000);
    expect(clock.monotonicMs()).toBeGreaterThan(0);
    expect(random.next()).toBeLessThan(1);
    expect(random.bytes(4)).toHaveLength(4);
    expect(random.uuid()).not.toBe(random.uuid());
  });
});
