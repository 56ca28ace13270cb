import { afterEach, expect, test } from "bun:test";
import type { AppHandler } from "../../src/testing/fake-app.ts";
import { Cleanup, eventually } from "../mecha-process.ts";
import { httpRoute, openRoutes, to } from "./routes-fixture.ts";

// mecha's own policies, attached to an HTTPRoute and to one of its rules.

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const twoRules = httpRoute([
  { name: "orders", matches: [{ path: { value: "/orders" } }], backendRefs: to("v1") },
  { matches: [{ path: { value: "/" } }], backendRefs: to("v2") },
]);

function policy(target: string, blocks: string, name = "p"): string {
  return `apiVersion: mecha.run/v1alpha1
kind: TrafficPolicy
metadata: { name: ${name} }
spec:
  targetRefs: [${target}]
  ${blocks}`;
}

const route = "{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: route }";
const rule = "{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: route, sectionName: orders }";
const abort = (status: number) => `fault: { abort: { percentage: { value: 100 }, httpStatus: ${status} } }`;

test("a TrafficPolicy of a route stands round all of its rules, one of a rule in its place", async () => {
  const world = await openRoutes(cleanup, [
    twoRules,
    policy(rule, abort(418), "own"),
    policy(route, abort(503)),
  ]);
  expect((await world.call("GET /orders/1")).status).toBe(418);
  expect((await world.call("GET /else")).status).toBe(503);
  world.write(twoRules, policy(rule, abort(418), "own"));
  await eventually(async () => expect((await world.call("GET /else")).status).toBe(200));
  expect((await world.call("GET /orders/1")).status).toBe(418);
  world.write(twoRules);
  await eventually(async () => expect((await world.call("GET /orders/1")).status).toBe(200));
});

test("retries of a route send the same body again, and go through the route's rule", async () => {
  const seen: string[] = [];
  const flaky: AppHandler = ({ method, text }) => {
    if (method !== "POST") return {};
    seen.push(text);
    return seen.length < 3 ? { status: 503 } : {};
  };
  const retries = 'retries: { attempts: 3, retryOn: "5xx", backoff: 1ms }';
  const world = await openRoutes(cleanup, [twoRules, policy(route, retries)], flaky);
  const answered = await world.call("POST /orders/1", {}, "three times");
  expect([answered.status, answered.header("x-backend")]).toEqual([200, "v1"]);
  expect(seen).toEqual(["three times", "three times", "three times"]);
});

test("a RateLimit of a route counts the calls of all of its rules, one of a rule its own", async () => {
  const limit = (target: string, requests: number, name: string) => `apiVersion: mecha.run/v1alpha1
kind: RateLimit
metadata: { name: ${name} }
spec:
  targetRefs: [${target}]
  limits: [{ requests: ${requests}, per: 1h }]`;
  const world = await openRoutes(cleanup, [twoRules, limit(rule, 1, "rule"), limit(route, 3, "all")]);
  const statuses: number[] = [];
  for (const path of ["/orders/1", "/orders/2", "/else", "/else"]) {
    statuses.push((await world.call(`GET ${path}`)).status);
  }
  expect(statuses).toEqual([200, 429, 200, 200]);
  const refused = await world.call("GET /else");
  expect([refused.status, Number(refused.header("retry-after")) > 0]).toEqual([429, true]);
});

test("a target that no policy reaches is refused by its name and place", async () => {
  const started = openRoutes(cleanup, [twoRules, policy("{ kind: TCPRoute, name: r }", abort(503))]);
  const error = await started.catch((e: Error) => e);
  expect(String(error)).toContain("kind must be App, AppVersion");
  const section = openRoutes(cleanup, [
    twoRules,
    policy("{ kind: App, name: infra, sectionName: x }", abort(503)),
  ]);
  expect(String(await section.catch((e: Error) => e))).toContain("sectionName is for the rules of a route");
});
