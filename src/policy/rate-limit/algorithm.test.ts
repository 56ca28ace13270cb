import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Algorithm, algorithmOf, type KeyState } from "./algorithm.ts";
import { KeyedStates } from "./keyed-states.ts";

const steps = fc.array(
  fc.record({ pauseMs: fc.integer({ min: 0, max: 400 }), tries: fc.integer({ min: 0, max: 12 }) }),
  { maxLength: 60 },
);
const rates = fc.record({
  requests: fc.integer({ min: 1, max: 20 }),
  perMs: fc.integer({ min: 100, max: 2000 }),
  burst: fc.integer({ min: 1, max: 30 }),
});

interface Step {
  pauseMs: number;
  tries: number;
}

/** When something was let through. */
function run(algorithm: Algorithm, steps: readonly Step[], stateOf: (nowMs: number) => KeyState): number[] {
  let nowMs = 1_000_000;
  return steps.flatMap(({ pauseMs, tries }) => {
    nowMs += pauseMs;
    const taken: number[] = [];
    for (let i = 0; i < tries; i++) if (algorithm.take(stateOf(nowMs), nowMs, 1) === 0) taken.push(nowMs);
    return taken;
  });
}

function mostIn(times: readonly number[], isInside: (from: number, to: number) => boolean): number {
  let most = 0;
  for (let from = 0; from < times.length; from++) {
    let to = from;
    while (to < times.length && isInside(times[from] as number, times[to] as number)) to++;
    most = Math.max(most, to - from);
  }
  return most;
}

describe("a token bucket", () => {
  test("never gives more than burst + rate × t in any time t", () => {
    fc.assert(
      fc.property(rates, steps, (rate, steps) => {
        const algorithm = algorithmOf({ ...rate, algorithm: "tokenBucket" });
        const state = algorithm.fresh();
        const times = run(algorithm, steps, () => state);
        for (const [first, from] of times.entries()) {
          for (let last = first; last < times.length; last++) {
            const t = (times[last] as number) - from;
            const most = rate.burst + (rate.requests * t) / rate.perMs;
            expect(last - first + 1).toBeLessThanOrEqual(most + 1e-6);
          }
        }
      }),
    );
  });

  test("gives the burst at once, says when the next is due, and keeps its word", () => {
    const algorithm = algorithmOf({ algorithm: "tokenBucket", requests: 10, perMs: 1000, burst: 3 });
    const state = algorithm.fresh();
    expect([1, 2, 3].map(() => algorithm.take(state, 50, 1))).toEqual([0, 0, 0]);
    expect(algorithm.take(state, 50, 1)).toBe(100);
    expect(algorithm.take(state, 149, 1)).toBeCloseTo(1);
    expect(algorithm.take(state, 150, 1)).toBe(0);
    expect(algorithm.resetMs(state, 150)).toBeCloseTo(300);
  });

  test("lets more than the burst through together when it is full, and is paid for it afterwards", () => {
    const algorithm = algorithmOf({ algorithm: "tokenBucket", requests: 10, perMs: 1000, burst: 5 });
    const state = algorithm.fresh();
    expect(algorithm.take(state, 0, 20)).toBe(0);
    expect(algorithm.take(state, 0, 1)).toBe(1600);
  });

  test("is not refilled by a clock that is set back", () => {
    const algorithm = algorithmOf({ algorithm: "tokenBucket", requests: 1, perMs: 1000, burst: 1 });
    const state = algorithm.fresh();
    expect(algorithm.take(state, 10_000, 1)).toBe(0);
    expect(algorithm.take(state, 5000, 1)).toBeGreaterThan(0);
    expect(algorithm.take(state, 10_500, 1)).toBe(500);
  });
});

describe("a sliding window", () => {
  test("never holds more than its requests, wherever it begins", () => {
    fc.assert(
      fc.property(rates, steps, (rate, steps) => {
        const algorithm = algorithmOf({ ...rate, algorithm: "slidingWindow" });
        const state = algorithm.fresh();
        const times = run(algorithm, steps, () => state);
        expect(mostIn(times, (from, to) => to - from < rate.perMs)).toBeLessThanOrEqual(rate.requests);
      }),
    );
  });

  test("says when there is room again", () => {
    fc.assert(
      fc.property(rates, steps, (rate, steps) => {
        const algorithm = algorithmOf({ ...rate, algorithm: "slidingWindow" });
        const state = algorithm.fresh();
        run(algorithm, steps, () => state);
        let nowMs = 2_000_000;
        while (algorithm.take(state, nowMs, 1) === 0);
        const waitMs = algorithm.take(state, nowMs, 1);
        expect(waitMs).toBeLessThanOrEqual((rate.perMs * 17) / 16 + 1e-6);
        nowMs += waitMs + 1e-3;
        expect(algorithm.take(state, nowMs, 1)).toBe(0);
      }),
    );
  });
});

describe("giving back", () => {
  for (const algorithmName of ["tokenBucket", "slidingWindow"] as const) {
    test(`makes a ${algorithmName} as it was`, () => {
      const algorithm = algorithmOf({ algorithm: algorithmName, requests: 4, perMs: 1000, burst: 4 });
      const state = algorithm.fresh();
      for (let i = 0; i < 4; i++) algorithm.take(state, 500, 1);
      algorithm.giveBack(state, 510, 2);
      expect([1, 2].map(() => algorithm.take(state, 510, 1))).toEqual([0, 0]);
      expect(algorithm.take(state, 510, 1)).toBeGreaterThan(0);
    });
  }
});

describe("keys", () => {
  test("that had to go come back as strict as they left", () => {
    const names = fc.integer({ min: 0, max: 40 }).map((number) => `k${number}`);
    const flood = fc.array(fc.tuple(names, fc.integer({ min: 0, max: 60 })), { maxLength: 400 });
    const each = fc.constantFrom("tokenBucket" as const, "slidingWindow" as const);
    fc.assert(
      fc.property(flood, each, (uses, algorithmName) => {
        const rate = { algorithm: algorithmName, requests: 3, perMs: 1000, burst: 3 };
        const algorithm = algorithmOf(rate);
        const bounded = new KeyedStates(algorithm, 7, { keysMax: 5, tracesMax: 8 });
        const everything = new Map<string, KeyState>();
        let nowMs = 1_000_000;
        for (const [key, pauseMs] of uses) {
          nowMs += pauseMs;
          const exact = everything.get(key) ?? algorithm.fresh();
          everything.set(key, exact);
          const isTaken = algorithm.take(bounded.of(key, nowMs), nowMs, 1) === 0;
          // What the bounded one lets through is a part of what the limit allows.
          if (isTaken) expect(algorithm.take(exact, nowMs, 1)).toBe(0);
          expect(bounded.size).toBeLessThanOrEqual(5);
        }
      }),
    );
  });

  test("that are over leave nothing behind", () => {
    const algorithm = algorithmOf({ algorithm: "tokenBucket", requests: 1, perMs: 1000, burst: 1 });
    const states = new KeyedStates(algorithm, 1, { keysMax: 1, tracesMax: 1 });
    expect(algorithm.take(states.of("a", 0), 0, 1)).toBe(0);
    expect(algorithm.take(states.of("b", 2000), 2000, 1)).toBe(0);
    expect(algorithm.take(states.of("a", 3000), 3000, 1)).toBe(0);
  });

  test("of a flood do not shut out those who come after, but for its own time", () => {
    const algorithm = algorithmOf({ algorithm: "tokenBucket", requests: 10, perMs: 1000, burst: 10 });
    const states = new KeyedStates(algorithm, 3, { keysMax: 100, tracesMax: 4096 });
    for (let i = 0; i < 8000; i++) algorithm.take(states.of(`made-up-${i}`, 0), 0, 1);
    expect(algorithm.take(states.of("honest", 0), 0, 1)).toBe(0);
  });
});
