import { expect, test } from "bun:test";
import type { Resource } from "../resource/resource.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import type { Log, Telemetry } from "../telemetry/telemetry.ts";
import { createTracer } from "../telemetry/tracer.ts";
import type { AppScope } from "./call.ts";
import { createPolicies, resilienceOf } from "./resilience.ts";

const nothing = () => {};
const log: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => log,
};
const telemetry: Telemetry = { log, metrics: createMetrics(), tracer: createTracer(0, undefined) };

function resource(kind: string, spec: object): Resource {
  return {
    kind,
    name: "one",
    namespace: "",
    apiVersion: "v1alpha1",
    scopes: [],
    spec,
  } as unknown as Resource;
}

function appWith(...resources: Resource[]): AppScope {
  return { resources, telemetry, principal: { appId: "a", namespace: "" } } as unknown as AppScope;
}

test("resilienceOf() keeps breakers when other kinds are reloaded, and renews them with their resource", () => {
  const spec = {
    policies: { circuitBreakers: { one: {} } },
    targets: { apps: { b: { circuitBreaker: "one" } } },
  };
  const app = appWith(resource("Resiliency", spec));
  const first = resilienceOf(app);
  app.resources = [resource("HTTPEndpoint", {}), resource("Resiliency", spec)];
  expect(resilienceOf(app)).toBe(first as never);
  app.resources = [resource("Resiliency", { ...spec, targets: {} })];
  expect(resilienceOf(app)).not.toBe(first as never);
});

test("DaprBuiltInActorRetries takes the place of the search for an actor's host", () => {
  const retry = { policy: "constant", duration: "20ms", maxRetries: 7 };
  const policies = { retries: { DaprBuiltInActorRetries: retry, DaprBuiltInActorNotFoundRetries: retry } };
  const { actors } = createPolicies(() => appWith(resource("Resiliency", { policies })));
  const plan = actors.search();
  expect(plan?.retries).toBe(7);
  expect(plan?.pauseMs(1)).toBe(20);
  expect(createPolicies(() => appWith()).actors.search()).toBeUndefined();
});
