import { expect, test } from "bun:test";
import type { Log } from "../telemetry/telemetry.ts";
import { checkResources } from "./load.ts";
import type { TrafficPolicySpec } from "./traffic.ts";

const log: Log = {
  ...{ debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, fatal: () => {} },
  scope: () => log,
};

/** The spec, or what a person gets to see. */
async function read(spec: string): Promise<TrafficPolicySpec | string> {
  const target = spec.includes("targetRefs") ? "" : "  targetRefs: [ { kind: App, name: a } ]\n";
  const head = "apiVersion: mecha.run/v1alpha1\nkind: TrafficPolicy\nmetadata: { name: t }\nspec:\n";
  const files = [{ path: "t.yaml", bytes: Buffer.from(head + target + spec) }];
  try {
    const set = await checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
    return set.others[0]?.spec as TrafficPolicySpec;
  } catch (error) {
    return (error as Error).message;
  }
}

test("blocks have Istio's and Envoy's defaults", async () => {
  const spec = await read(
    "  retries: {}\n  retryBudget: {}\n  circuitBreaker: {}\n  adaptiveConcurrency: {}\n  admissionControl: {}\n",
  );
  expect(spec).toMatchObject({
    retries: {
      ...{ attempts: 2, perTryTimeoutMs: 0, backoffMs: 25, backoffMaxMs: 250, retryAfterMaxMs: 300_000 },
      retryOn: ["connect-failure", "refused-stream", "unavailable", "cancelled"],
    },
    retryBudget: { percent: 20, minRetryConcurrency: 3, budgetIntervalMs: 0 },
    circuitBreaker: { maxRequests: 1, intervalMs: 0, timeoutMs: 60_000, trip: "" },
    adaptiveConcurrency: { sampleAggregatePercentile: 50, maxConcurrencyLimit: 1000, minRttRequestCount: 50 },
    admissionControl: { samplingWindowMs: 30_000, srThreshold: 95, maxRejectionProbability: 80 },
  });
});

test("a cache has defaults, and sizes and times as they are written", async () => {
  const memory = { store: "memory", maxBodyBytes: 1 << 20, maxBytes: 64 << 20, methods: ["GET", "HEAD"] };
  expect(await read("  cache: {}\n  collapse: {}\n")).toMatchObject({
    cache: { ...memory, tags: "", staleIfErrorMs: 0 },
    collapse: { singleFlight: true },
  });
  expect(
    await read("  cache: { ttl: 1m, vary: [Accept], staleIfError: 1h, maxBytes: 1Mi, tags: '[\"a\"]' }\n"),
  ).toMatchObject({
    cache: { ttlMs: 60_000, vary: ["accept"], staleIfErrorMs: 3_600_000, maxBytes: 1 << 20, tags: '["a"]' },
  });
});

test("percentages are Istio's objects or numbers, statuses of retryOn are codes", async () => {
  const spec = await read(
    "  fault: { delay: { percentage: { value: 0.5 }, fixedDelay: 2s }, abort: { percentage: 5, grpcStatus: NOT_FOUND } }\n  retries: { retryOn: '5xx, 429' }\n",
  );
  expect(spec).toMatchObject({
    fault: {
      delay: { percentage: 0.5, fixedDelayMs: 2000 },
      abort: { percentage: 5, grpcStatus: 5, error: "fault filter abort" },
    },
    retries: { retryOn: ["5xx", "retriable-status-codes"], retriableStatusCodes: [429] },
  });
});

test.each([
  ["  fault: {}\n", "spec.fault needs delay, abort"],
  ["  fault: { delay: { fixedDelay: 6m } }\n", "at most 5m"],
  ["  fault: { abort: { httpStatus: 500, grpcStatus: 14 } }\n", "not both"],
  ["  retries: { retryOn: sometimes }\n", "got sometimes"],
  ["  retries: { ignorePreviousHosts: 7 }\n", "ignorePreviousHosts must be true or false"],
  ["  hedging: {}\n", "spec.hedging.delay"],
  ["  hedging: { delay: 1s, onPerTryTimeout: true }\n", "spec.hedging.onPerTryTimeout is not implemented"],
  ["  circuitBreaker: { trip: 'requests + 1' }\n", "trip must be a CEL condition"],
  ["  fallback: {}\n", "one of directResponse and to"],
  ["  fallback: { to: app://a/b, directResponse: {} }\n", "one of directResponse and to"],
  ["  cache: { methods: [POST] }\n", "methods may hold GET and HEAD"],
  ["  cache: { cookies: [a] }\n", "cookies needs a ttl"],
  ["  cache: { ttl: 0s }\n", "ttl must be longer than 0"],
  ["  cache: { maxBodyBytes: 1Gi }\n", "maxBodyBytes must be from 1 to"],
  ["  cache: { key: { query: { include: [a], exclude: [b] } } }\n", "include or exclude, not both"],
  ["  cache: { tags: 'request.' }\n", "tags must be a CEL expression"],
  ["  cache: { etags: true }\n", "unknown field spec.cache.etags"],
  [
    "  cache: {}\n  targetRefs: [ { group: gateway.networking.k8s.io, kind: GRPCRoute, name: a } ]\n",
    "AppVersion and Gateway, not GRPCRoute: gRPC calls are POSTs, and no header says what of them may be kept",
  ],
  ["  cache: {}\n  targetRefs: [ { kind: Component, name: a } ]\n", "cache is for targets of kind App"],
  ["  collapse: { batch: {} }\n", "key is missing"],
  ["  collapse: { batch: { key: /users } }\n", "key must be a path with {id} in one place"],
  ["  collapse: { batch: { key: '/u/{id}' } }\n", "requestTemplate is missing"],
  [
    "  collapse: { batch: { key: '/u/{id}', requestTemplate: { path: /u } } }\n",
    "path or body must hold {ids}",
  ],
  [
    "  collapse: { batch: { key: '/u/{id}', requestTemplate: { path: '/u?{ids}', body: x } } }\n",
    "a GET has no body",
  ],
  [
    "  collapse: { batch: { key: '/u/{id}', requestTemplate: { path: '/u?{ids}' }, split: { items: users } } }\n",
    "items must be a JSON pointer",
  ],
  ["  collapse: { batch: { max: 1, key: '/u/{id}', requestTemplate: { path: '/u?{ids}' } } }\n", "max"],
  ["  fallback: { to: topic://a/b }\n", "app://id/path"],
  ["  mirror: []\n", "spec.mirror is not implemented"],
  ["  targetRefs: [ { kind: AppVersion, name: a, sectionName: b } ]\n", "sectionName is for the rules"],
  ["  retries: { attemps: 1 }\n", "attemps"],
])("%s is refused", async (spec, why) => {
  expect(await read(spec)).toContain(why);
});
