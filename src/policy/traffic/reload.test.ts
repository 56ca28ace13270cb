import { expect, test } from "bun:test";
import type { TrafficPolicySpec } from "../../resource/traffic.ts";
import type { OpenedLayers, UseLayer } from "../use/layer.ts";
import { type Answer, Bed, get, settled, shape } from "./fixture-bed.ts";

// What an edit of one TrafficPolicy leaves as it was.

const breaker = { maxRequests: 1, intervalMs: 0, timeoutMs: 60_000, trip: "" };
const retries = {
  ...{ attempts: 1, perTryTimeoutMs: 0, retryOn: ["5xx"], retriableStatusCodes: [] },
  ...{ backoffMs: 0, backoffMaxMs: 0, ignorePreviousHosts: true, retryAfterMaxMs: 0 },
};
const bills = {
  targets: [{ kind: "App", name: "bills", sectionName: "" }],
} satisfies Partial<TrafficPolicySpec>;
const fails = async (): Promise<Answer> => ({ status: 500 });

function at(layers: OpenedLayers, target = "orders"): UseLayer {
  return layers.at({ block: "invoke", target }) as UseLayer;
}

async function trip(layer: UseLayer): Promise<void> {
  for (let i = 0; i < 6; i++) await layer.run(get, fails, shape);
}

async function said(layer: UseLayer): Promise<unknown> {
  return layer.run(get, async () => ({ status: 200 }), shape).catch((error) => error.message);
}

test("a breaker stays open when another policy, or another block of its target, is edited", async () => {
  const bed = new Bed();
  const first = bed.open({ circuitBreaker: breaker }, { ...bills, retries });
  await trip(at(first));
  const second = bed.reopen(
    first,
    { circuitBreaker: breaker },
    { ...bills, retries: { ...retries, attempts: 2 } },
  );
  expect(await said(at(second))).toBe("circuit breaker is open");
  const third = bed.reopen(second, { circuitBreaker: breaker }, { retries });
  expect(await said(at(third))).toBe("circuit breaker is open");
});

test("a breaker nobody has asked for since an edit stays open over the next", async () => {
  const bed = new Bed();
  const first = bed.open({ circuitBreaker: breaker }, { ...bills, retries });
  await trip(at(first));
  const edit = (attempts: number): Partial<TrafficPolicySpec> => ({
    ...bills,
    retries: { ...retries, attempts },
  });
  const second = bed.reopen(first, { circuitBreaker: breaker }, edit(3));
  const third = bed.reopen(second, { circuitBreaker: breaker }, edit(4));
  expect(await said(at(third))).toBe("circuit breaker is open");
});

test("a breaker that is edited, or was away, begins anew", async () => {
  const bed = new Bed();
  const first = bed.open({ circuitBreaker: breaker }, { ...bills, circuitBreaker: breaker });
  await trip(at(first));
  await trip(at(first, "bills"));
  const edited = { ...breaker, timeoutMs: 61_000 };
  const second = bed.reopen(first, { circuitBreaker: edited }, { ...bills, circuitBreaker: breaker });
  expect(await said(at(second))).toEqual({ status: 200 });
  expect(await said(at(second, "bills"))).toBe("circuit breaker is open");
  const third = bed.reopen(second, { circuitBreaker: edited });
  const fourth = bed.reopen(third, { circuitBreaker: edited }, { ...bills, circuitBreaker: breaker });
  expect(await said(at(fourth, "bills"))).toEqual({ status: 200 });
});

test("a budget counts what was under way before an edit of something else", async () => {
  const bed = new Bed();
  const spec = { retries, retryBudget: { percent: 0, minRetryConcurrency: 1, budgetIntervalMs: 0 } };
  const first = bed.open(spec, { ...bills, circuitBreaker: breaker });
  let tries = 0;
  const held = at(first).run(get, () => (++tries === 1 ? fails() : new Promise<Answer>(() => {})), shape);
  void held;
  await bed.pass(5);
  expect(tries).toBe(2);
  const second = bed.reopen(first, spec, { ...bills, circuitBreaker: { ...breaker, timeoutMs: 5 } });
  let later = 0;
  const count = (): Promise<Answer> => {
    later++;
    return fails();
  };
  const answer = at(second).run(get, count, shape);
  await bed.pass(5);
  expect([await answer, later]).toEqual([{ status: 500 }, 1]);
});

test("adaptive concurrency keeps what is under way and the limit it has found", async () => {
  const bed = new Bed();
  const spec = {
    ...{ sampleAggregatePercentile: 50, concurrencyUpdateIntervalMs: 100, maxConcurrencyLimit: 1000 },
    ...{ minRttIntervalMs: 60_000, minRttRequestCount: 10, minRttJitterPercent: 0, minConcurrency: 3 },
    minRttBufferPercent: 25,
  };
  const first = bed.open({ adaptiveConcurrency: spec }, { ...bills, retries });
  for (let i = 0; i < 3; i++) void at(first).run(get, () => new Promise<Answer>(() => {}), shape);
  await settled();
  const second = bed.reopen(first, { adaptiveConcurrency: spec }, { ...bills, circuitBreaker: breaker });
  expect(await said(at(second))).toEqual({ status: 503 });
});
