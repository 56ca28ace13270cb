import { describe, expect, test } from "bun:test";
import { SimulatedClock, seededRandom, simulatedEdges } from "./simulated.ts";

describe("SimulatedClock", () => {
  test("fires timers in due order as time moves, and those set meanwhile", () => {
    const clock = new SimulatedClock(1000);
    const fired: string[] = [];
    clock.setTimer(20, () => fired.push(`b ${clock.now()}`));
    clock.setTimer(10, () => {
      fired.push(`a ${clock.now()}`);
      clock.setTimer(5, () => fired.push(`c ${clock.now()}`));
      clock.setTimer(500, () => fired.push("late"));
    });
    clock.setTimer(15, () => fired.push("never")).cancel();
    clock.advance(100);
    expect(fired).toEqual(["a 1010", "c 1015", "b 1020"]);
    expect(clock.now()).toBe(1100);
    expect(clock.pendingTimers).toBe(1);
  });

  test("a jump of the wall clock moves no timers", () => {
    const clock = new SimulatedClock(1000);
    let fired = 0;
    clock.setTimer(10, () => fired++);
    clock.jump(5000);
    expect(clock.now()).toBe(5000);
    expect(clock.monotonicMs()).toBe(0);
    clock.advance(9);
    expect(fired).toBe(0);
    clock.advance(1);
    expect(fired).toBe(1);
  });
});

describe("seededRandom()", () => {
  test("repeats itself for the same seed only", () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    expect(Math.max(...draw(7))).toBeLessThan(1);
  });

  test("makes version 4 UUIDs and bytes", () => {
    const { random } = simulatedEdges(1);
    expect(random.uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(random.bytes(9)).toHaveLength(9);
  });
});
