import { expect, test } from "bun:test";
import { checkResources } from "./load.ts";
import { ResourceErrors } from "./problem.ts";
import type { TrafficPolicySpec } from "./traffic.ts";

const nothing = () => undefined;
const warnings: string[] = [];
const log = {
  debug: nothing,
  info: nothing,
  warn: (_fields: object, text: string) => void warnings.push(text),
  error: nothing,
  fatal: nothing,
  scope: () => log,
};

async function read(blocks: string, kind = "App"): Promise<TrafficPolicySpec> {
  const text = [
    "apiVersion: mecha.run/v1alpha1",
    "kind: TrafficPolicy",
    "metadata: { name: x }",
    "spec:",
    `  targetRefs: [ { kind: ${kind}, name: orders } ]`,
    ...blocks.split("\n").map((line) => `  ${line}`),
  ].join("\n");
  const files = [{ path: "a.yaml", bytes: Buffer.from(text) }];
  const set = await checkResources({ files, print: "" }, { isStrict: false, env: {}, log });
  return set.others[0]?.spec as unknown as TrafficPolicySpec;
}

async function errorOf(blocks: string, kind?: string): Promise<string> {
  const error = await read(blocks, kind).then(nothing, (caught: Error) => caught);
  expect(error).toBeInstanceOf(ResourceErrors);
  return (error as Error).message;
}

test("empty blocks have Istio's defaults", async () => {
  const spec = await read(
    "loadBalancer: {}\nconnectionPool: {}\noutlierDetection: {}\nhealthCheck: { http: {} }",
  );
  expect(spec).toMatchObject({
    loadBalancer: { simple: "LEAST_REQUEST", panicThreshold: 50 },
    connectionPool: {
      ...{ maxConnections: 1024, connectTimeoutMs: 10_000, http1MaxPendingRequests: 1024 },
      ...{ http2MaxRequests: 1024, maxRequestsPerConnection: 0, maxRetries: 3 },
    },
    outlierDetection: {
      ...{ consecutive5xxErrors: 5, consecutiveGatewayErrors: 0, intervalMs: 10_000 },
      ...{ baseEjectionTimeMs: 30_000, maxEjectionPercent: 10, minHealthPercent: 0 },
      ...{ splitExternalLocalOriginErrors: false, consecutiveLocalOriginFailures: 5, probe: "none" },
    },
    healthCheck: { kind: "http", path: "/healthz", unhealthyThreshold: 3, healthyThreshold: 1 },
  });
});

test("every field is read", async () => {
  const spec = await read(`loadBalancer:
  consistentHash: { httpCookie: { name: user, path: /, ttl: 1h }, maglev: { tableSize: 251 }, boundedLoadPercent: 125 }
  localityLbSetting: { failover: [ { from: eu, to: us } ] }
  panicThreshold: 0
connectionPool:
  tcp: { maxConnections: 2, connectTimeout: 1s, idleTimeout: 3s }
  http: { http1MaxPendingRequests: 0, http2MaxRequests: 4, maxRequestsPerConnection: 5, maxRetries: 0 }
outlierDetection: { httpErrorCodes: [429, 500-504], probe: single, splitExternalLocalOriginErrors: true }
healthCheck: { grpc: { service: s }, interval: 500ms, timeout: 100ms, unhealthyThreshold: 2, healthyThreshold: 4 }`);
  expect(spec.loadBalancer).toMatchObject({
    consistentHash: {
      key: { kind: "cookie", name: "user", path: "/", ttlMs: 3_600_000 },
      table: { kind: "maglev", tableSize: 251 },
      boundedLoadPercent: 125,
    },
    locality: { failover: [{ from: "eu", to: "us" }] },
    panicThreshold: 0,
  });
  expect(spec.connectionPool).toEqual({
    ...{ maxConnections: 2, connectTimeoutMs: 1000, idleTimeoutMs: 3000, http1MaxPendingRequests: 0 },
    ...{ http2MaxRequests: 4, maxRequestsPerConnection: 5, maxRetries: 0 },
  });
  expect(spec.outlierDetection).toMatchObject({
    httpErrorCodes: [
      { from: 429, to: 429 },
      { from: 500, to: 504 },
    ],
    probe: "single",
    splitExternalLocalOriginErrors: true,
  });
  expect(spec.healthCheck).toEqual({
    ...{ kind: "grpc", path: "", service: "s", intervalMs: 500, timeoutMs: 100 },
    ...{ unhealthyThreshold: 2, healthyThreshold: 4 },
  });
});

const mistakes: [blocks: string, message: string][] = [
  ["loadBalancer: { simple: FASTEST }", "simple must be one of"],
  ["loadBalancer: { consistentHash: {} }", "exactly one of httpHeaderName"],
  ["loadBalancer: { simple: RANDOM, consistentHash: { useSourceIp: true } }", "exclude each other"],
  ["loadBalancer: { consistentHash: { useSourceIp: true, maglev: { tableSize: 100 } } }", "prime number"],
  ["loadBalancer: { consistentHash: { useSourceIp: true, boundedLoadPercent: 50 } }", "at least 100"],
  ["loadBalancer: { warmup: {} }", "duration is missing"],
  ["loadBalancer: { localityLbSetting: { distribute: [ { from: a, to: { a: 70 } } ] } }", "come to 100"],
  ["outlierDetection: { httpErrorCodes: [abc] }", "like 429 or 500-504"],
  ["healthCheck: { http: {}, tcp: {} }", "exactly one of http, grpc and tcp"],
  ["healthCheck: { tcp: {}, interval: 1ms }", "at least 100ms"],
  ["connectionPool: { tcp: { maxConnections: 0 } }", "from 1 to"],
  ["connectionPool: { http: { h2UpgradePolicy: UPGRADE } }", "unknown field"],
];
test.each(mistakes)("%s is refused with its place", async (blocks, message) => {
  const error = await errorOf(blocks);
  expect(error).toContain(message);
  expect(error).toMatch(/a\.yaml:\d+:\d+/);
});

test("the blocks are refused for targets that have no instances to choose from", async () => {
  expect(await errorOf("loadBalancer: {}", "Component")).toContain(
    "needs a target of kind App or AppVersion, not Component",
  );
});

test("a locality setting without a way to see failures is warned of", async () => {
  warnings.length = 0;
  await read("loadBalancer: { localityLbSetting: { failoverPriority: [a] } }");
  expect(warnings.join()).toContain("no effect without outlierDetection or healthCheck");
});
