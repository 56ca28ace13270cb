import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { SimulatedClock } from "../../edges/simulated.ts";
import type { RateLimitRule, RateLimitSpec } from "../../resource/rate-limit.ts";
import type { Counters } from "../use/layer.ts";
import { OwnAllowance, type Taken } from "./allowance.ts";
import type { Asked } from "./asked.ts";
import { Limiter, type Verdict } from "./limiter.ts";
import { SharedAllowance } from "./shared-allowance.ts";

const rule: RateLimitRule = {
  ...{ match: "", keys: [{ kind: "field", name: "source.app" }], requests: 10, perMs: 1000, burst: 1 },
  algorithm: "tokenBucket",
};
const random = { next: () => 0.5 } as never;

function asked(sourceApp: string): Asked {
  const rest = { sourceNamespace: "", method: "", path: "", operation: "", count: 1 };
  return { sourceApp, ...rest, header: () => undefined };
}

/** Lets promises that are due go on, and time with them. */
async function pass(clock: SimulatedClock, ms: number): Promise<void> {
  for (let i = 0; i < ms; i++) {
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    clock.advance(1);
  }
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("a line", () => {
  function limiter(action: RateLimitSpec["onLimit"]["action"], maxWaitMs: number, waitingMax?: number) {
    const clock = new SimulatedClock();
    const limits = [{ rule, allowance: new OwnAllowance(rule, { clock, seed: 1 }) }];
    const onLimit = { action, maxWaitMs, status: 429, hasHeaders: true };
    const options = { onLimit, isShadow: false, clock, limits };
    const made = new Limiter(waitingMax === undefined ? options : { ...options, waitingMax });
    const seen: string[] = [];
    const ask = (name: string, app = "a", signal?: AbortSignal): void => {
      void Promise.resolve(made.admit(asked(app), signal)).then(({ isAllowed }: Verdict) => {
        seen.push(isAllowed ? name : `!${name}`);
      });
    };
    return { clock, made, seen, ask };
  }

  test("is served in the order of arrival, and nobody slips in", async () => {
    const { clock, seen, ask } = limiter("queue", 5000);
    for (const name of ["1", "2", "3", "4"]) ask(name);
    await pass(clock, 100);
    ask("5");
    await pass(clock, 500);
    expect(seen).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("of another key does not wait", async () => {
    const { clock, seen, ask } = limiter("queue", 5000);
    for (const name of ["1", "2"]) ask(name);
    ask("other", "b");
    await pass(clock, 1);
    expect(seen).toEqual(["1", "other"]);
  });

  test("lets nobody wait longer than the longest wait", async () => {
    const { clock, made, seen, ask } = limiter("queue", 150);
    for (const name of ["1", "2", "3"]) ask(name);
    await pass(clock, 160);
    expect(seen).toEqual(["1", "2", "!3"]);
    expect(made.waiting).toBe(0);
  });

  test("refuses at once who is delayed for too long", async () => {
    const { clock, seen, ask } = limiter("delay", 150);
    for (const name of ["1", "2", "3"]) ask(name);
    await pass(clock, 1);
    expect(seen).toEqual(["1", "!3"]);
  });

  test("is bounded, and left by those who go", async () => {
    const { clock, made, seen, ask } = limiter("queue", 5000, 2);
    const gone = new AbortController();
    ask("1");
    ask("2", "a", gone.signal);
    ask("3");
    ask("4");
    await pass(clock, 1);
    expect(seen).toEqual(["1", "!4"]);
    gone.abort();
    await pass(clock, 101);
    expect(seen).toEqual(["1", "!4", "!2", "3"]);
    expect(made.waiting).toBe(0);
  });
});

/** One record for all, with somebody else's writes in between as chance has it. */
function sharedCounters() {
  const records = new Map<string, { value: string; etag: string }>();
  const state = { writes: 0, isAway: false, hangs: false };
  const counters: Counters = {
    async read(key) {
      if (state.hangs) await new Promise(() => {});
      if (state.isAway) throw new Error("away");
      return records.get(key);
    },
    async write(key, { value, etag }) {
      if (state.isAway) throw new Error("away");
      if (records.get(key)?.etag !== etag) return false;
      records.set(key, { value, etag: String(++state.writes) });
      return true;
    },
  };
  return { counters, state };
}

function shared(given: RateLimitRule, instances: number, failurePolicy: "open" | "closed" = "open") {
  const clock = new SimulatedClock();
  const { counters, state } = sharedCounters();
  const recordOf = (key: string): string => key;
  const options = { counters, clock, random, recordOf, failurePolicy };
  return { clock, state, all: Array.from({ length: instances }, () => new SharedAllowance(given, options)) };
}

describe("shared counts", () => {
  const algorithms = fc.constantFrom("tokenBucket" as const, "slidingWindow" as const);
  const uses = fc.array(
    fc.record({
      instance: fc.integer({ min: 0, max: 2 }),
      tries: fc.integer({ min: 1, max: 20 }),
      pauseMs: fc.integer({ min: 0, max: 60 }),
    }),
    { maxLength: 25 },
  );

  test("let no more through than the limit, whoever asks", async () => {
    await fc.assert(
      fc.asyncProperty(algorithms, uses, async (algorithm, uses) => {
        const given = { ...rule, algorithm, requests: 100, burst: 20 };
        const { clock, all } = shared(given, 3);
        const startMs = clock.monotonicMs();
        const times: number[] = [];
        for (const { instance, tries, pauseMs } of uses) {
          for (let i = 0; i < tries; i++) {
            const taken = all[instance]?.take("k", 1);
            void Promise.resolve(taken).then((one) => {
              if (one?.waitMs === 0) times.push(clock.monotonicMs());
            });
          }
          await pass(clock, pauseMs);
        }
        await pass(clock, 50);
        if (algorithm === "slidingWindow") {
          for (const from of times) {
            const inside = times.filter((at) => at >= from && at - from < given.perMs);
            expect(inside.length).toBeLessThanOrEqual(given.requests);
          }
          return;
        }
        for (const [index, at] of times.entries()) {
          const most = given.burst + ((at - startMs) * given.requests) / given.perMs;
          expect(index + 1).toBeLessThanOrEqual(most + 1e-6);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("cost far fewer writes than uses", async () => {
    const { clock, state, all } = shared({ ...rule, requests: 10_000, burst: 10_000 }, 1);
    let passed = 0;
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 5; i++) {
        void Promise.resolve(all[0]?.take("k", 1)).then((one) => {
          if (one?.waitMs === 0) passed++;
        });
      }
      await pass(clock, 2);
    }
    expect(passed).toBe(1000);
    expect(state.writes).toBeLessThan(100);
  });

  for (const [failurePolicy, isOpen] of [
    ["open", true],
    ["closed", false],
  ] as const) {
    for (const trouble of ["isAway", "hangs"] as const) {
      test(`are ${failurePolicy} when the store ${trouble}, and hold again when it is back`, async () => {
        const { clock, state, all } = shared({ ...rule, requests: 1, perMs: 3_600_000 }, 1, failurePolicy);
        state[trouble] = true;
        const answers: Taken[] = [];
        const take = () => void Promise.resolve(all[0]?.take("k", 1)).then((one) => one && answers.push(one));
        take();
        await pass(clock, 2001);
        expect(answers.at(-1)).toMatchObject({ isAway: true });
        expect(answers.at(-1)?.waitMs === 0).toBe(isOpen);
        if (trouble === "hangs") return;
        state.isAway = false;
        await pass(clock, 1001);
        take();
        await pass(clock, 5);
        take();
        await pass(clock, 5);
        expect(answers.slice(-2).map(({ waitMs }) => waitMs > 0)).toEqual([false, true]);
      });
    }
  }
});
