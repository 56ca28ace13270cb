import { expect, test } from "bun:test";
import { signalOf } from "../../kit/cancellation.ts";
import type { RetriesSpec } from "../../resource/traffic.ts";
import type { Work } from "../use/layer.ts";
import { type Answer, Bed, get, settled, shape } from "./fixture-bed.ts";
import { backoffMs, pauseOf } from "./retries.ts";

function retries(some: Partial<RetriesSpec>): RetriesSpec {
  return {
    ...{ attempts: 2, perTryTimeoutMs: 0, retryOn: [], retriableStatusCodes: [], backoffMs: 25 },
    ...{ backoffMaxMs: 250, ignorePreviousHosts: false, retryAfterMaxMs: 300_000, ...some },
  };
}

const refusedConnection = Object.assign(new Error("no"), { code: "ECONNREFUSED" });

test.each<[reason: string, failure: Answer | Error, isRetried: boolean]>([
  ["5xx", { status: 500 }, true],
  ["gateway-error", { status: 500 }, false],
  ["gateway-error", { status: 502 }, true],
  ["retriable-4xx", { status: 409 }, true],
  ["5xx", { status: 404 }, false],
  ["connect-failure", new Error("wrapped", { cause: refusedConnection }), true],
  ["reset", refusedConnection, false],
  ["reset", Object.assign(new Error("no"), { code: "ECONNRESET" }), true],
  ["unavailable", new Error("of a component"), true],
])("retryOn %s, case %#", async (reason, failure, isRetried) => {
  const bed = new Bed();
  let tries = 0;
  const work = async (): Promise<Answer> => {
    if (tries++ > 0) return { status: 200 };
    if (failure instanceof Error) throw failure;
    return failure;
  };
  const running = bed.layer({ retries: retries({ retryOn: [reason] }) }).run(get, work, shape);
  running.catch(() => {});
  await bed.pass(300, 10);
  expect(tries).toBe(isRetried ? 2 : 1);
});

test("statuses can be named, and the last failure is given back", async () => {
  const bed = new Bed();
  let tries = 0;
  const layer = bed.layer({
    retries: retries({ retryOn: ["retriable-status-codes"], retriableStatusCodes: [418] }),
  });
  const running = layer.run(get, async () => ({ status: 418, headers: { n: `${++tries}` } }), shape);
  await bed.pass(600, 10);
  expect(await running).toEqual({ status: 418, headers: { n: "3" } });
});

test("a try that takes too long is cancelled, and another is made", async () => {
  const bed = new Bed();
  const signals: (AbortSignal | undefined)[] = [];
  const layer = bed.layer({ retries: retries({ perTryTimeoutMs: 50, retryOn: ["deadline-exceeded"] }) });
  const work: Work<Answer> = (ended) => {
    signals.push(signalOf(ended));
    return signals.length === 1 ? new Promise(() => {}) : Promise.resolve({ status: 200 });
  };
  const running = layer.run(get, work, shape);
  await bed.pass(100, 10);
  expect(await running).toEqual({ status: 200 });
  expect(signals.map((signal) => signal?.aborted)).toEqual([true, false]);
});

test("Retry-After is honoured up to its bound, with jitter of at most a half", async () => {
  const bed = new Bed();
  let tries = 0;
  const layer = bed.layer({ retries: retries({ retryOn: ["5xx"], retryAfterMaxMs: 10_000 }) });
  const told = async () => (tries++ > 0 ? { status: 200 } : { status: 503, headers: { "retry-after": "8" } });
  const running = layer.run(get, told, shape);
  await bed.pass(7_900, 100);
  expect(tries).toBe(1);
  await bed.pass(4_200, 100);
  expect(await running).toEqual({ status: 200 });
  tries = 0;
  const long = layer.run(
    get,
    async () => (tries++ > 0 ? { status: 200 } : { status: 503, headers: { "retry-after": "11" } }),
    shape,
  );
  await bed.pass(300, 10);
  expect(await long).toEqual({ status: 200 });
});

test("pauses grow to their cap, and what headers say is read in its three forms", () => {
  const spec = retries({});
  expect([1, 2, 3, 4, 9].map((attempt) => backoffMs(spec, attempt, 1))).toEqual([25, 75, 175, 250, 250]);
  expect(backoffMs(spec, 2, 0)).toBe(0);
  const nowMs = Date.UTC(2026, 0, 1);
  expect(pauseOf("3", nowMs)).toBe(3000);
  expect(pauseOf(`${nowMs / 1000 + 3}`, nowMs)).toBe(3000);
  expect(pauseOf("Thu, 01 Jan 2026 00:00:03 GMT", nowMs)).toBe(3000);
  expect(pauseOf("soon", nowMs)).toBeUndefined();
});

test("a budget is never exceeded, and a full outage costs at most 1.2 times the load", async () => {
  const bed = new Bed();
  const layer = bed.layer({
    retries: retries({ attempts: 5, retryOn: ["5xx"], backoffMs: 2 }),
    retryBudget: { percent: 20, minRetryConcurrency: 3, budgetIntervalMs: 0 },
  });
  let tries = 0;
  let firsts = 0;
  let underWay = 0;
  let worst = 0;
  const use = async (): Promise<void> => {
    let isRepeat = false;
    firsts++;
    await layer.run(
      get,
      async () => {
        tries++;
        if (isRepeat) worst = Math.max(worst, ++underWay);
        const wasRepeat = isRepeat;
        isRepeat = true;
        await new Promise<void>((done) => void bed.clock.setTimer(10, done));
        if (wasRepeat) underWay--;
        return { status: 503 };
      },
      shape,
    );
  };
  const all: Promise<void>[] = [];
  for (let ms = 0; ms < 400; ms++) {
    for (let i = 0; i < 20; i++) all.push(use());
    await bed.pass(1);
  }
  await bed.pass(300, 5);
  await Promise.all(all);
  expect(firsts).toBe(8000);
  expect(tries).toBeGreaterThan(firsts);
  expect(tries / firsts).toBeLessThanOrEqual(1.2);
  // 20 a millisecond for 10 ms each are 200 first tries under way.
  expect(worst).toBeLessThanOrEqual(40);
  expect(bed.did("over-budget")).toBeGreaterThan(0);
  await settled();
});

test("minRetryConcurrency is there for few calls, and budgetInterval looks at the last while", async () => {
  const bed = new Bed();
  const layer = bed.layer({
    retries: retries({ attempts: 1, retryOn: ["5xx"], backoffMs: 1, backoffMaxMs: 1 }),
    retryBudget: { percent: 10, minRetryConcurrency: 1, budgetIntervalMs: 1000 },
  });
  const fail = async () => ({ status: 500 });
  for (let i = 0; i < 20; i++) {
    const running = layer.run(get, fail, shape);
    await bed.pass(2);
    await running;
  }
  // 20 calls within the second: two repeats, and the first was let in for being the only one.
  expect(bed.did("retry")).toBe(2);
});
