import { afterEach, expect, test } from "bun:test";
import { component, shopAndOrders, stopAll, trafficPolicy } from "./traffic-fixture.ts";

afterEach(stopAll);

const toOrders = "targetRefs: [ { kind: App, name: orders } ]";

test("an abort stands for the app, with its status and text", async () => {
  const abort = "abort: { percentage: { value: 100 }, httpStatus: 418, error: no tea }";
  const { call, orders } = await shopAndOrders([trafficPolicy("a", `{ ${toOrders}, fault: { ${abort} } }`)]);
  const answer = await call();
  expect(answer.status).toBe(418);
  expect(answer.text).toContain("no tea");
  expect(orders.requests).toHaveLength(0);
});

test("an abort is for the commands, paths and headers that it names", async () => {
  const fault = `{ abort: { percentage: 100 }, commands: [ GET ],
      match: { path: { value: /pay }, headers: [ { name: x-chaos, value: "1" } ] } }`;
  const { call } = await shopAndOrders([trafficPolicy("a", `{ ${toOrders}, fault: ${fault} }`)]);
  const chaos = { "x-chaos": "1" };
  const path = "/v1.0/invoke/orders/method";
  expect((await call(`GET ${path}/pay/now`, chaos)).status).toBe(503);
  expect((await call(`GET ${path}/pay/now`)).status).toBe(200);
  expect((await call(`GET ${path}/payment`, chaos)).status).toBe(200);
  expect((await call(`POST ${path}/pay`, chaos)).status).toBe(200);
});

test("a header asks for a fault where that is allowed, and nowhere else", async () => {
  const fault = "{ headerControlled: true }";
  const { call, mecha } = await shopAndOrders([
    trafficPolicy("a", `{ ${toOrders}, fault: ${fault} }`),
    trafficPolicy(
      "b",
      "{ targetRefs: [ { kind: App, name: backup } ], fault: { delay: { fixedDelay: 1ms } } }",
    ),
  ]);
  const asked = { "x-envoy-fault-abort-request": "429" };
  expect((await call(undefined, asked)).status).toBe(429);
  expect((await call(undefined, { ...asked, "x-envoy-fault-abort-request-percentage": "0" })).status).toBe(
    200,
  );
  expect((await mecha.http("shop", "GET /v1.0/invoke/backup/method/x", { headers: asked })).status).toBe(200);
});

test("an answer comes no faster than bandwidthKbps lets it", async () => {
  const { call } = await shopAndOrders([trafficPolicy("a", `{ ${toOrders}, fault: { bandwidthKbps: 1 } }`)]);
  const startedMs = performance.now();
  expect((await call()).json()).toEqual({ status: 200 });
  // 14 bytes at 1 KiB/s.
  expect(performance.now() - startedMs).toBeGreaterThan(10);
});

test("faults reach a state store by key and command, and other callers not at all", async () => {
  const fault =
    "{ abort: { percentage: 100, httpStatus: 500, error: disk on fire }, commands: [ get ], match: { prefix: a } }";
  const { mecha } = await shopAndOrders([
    component("store", "state.in-memory"),
    trafficPolicy(
      "a",
      `{ targetRefs: [ { kind: Component, name: store } ], from: [ { app: shop } ], fault: ${fault} }`,
    ),
  ]);
  const saved = await mecha.http("shop", "POST /v1.0/state/store", { body: [{ key: "a1", value: 1 }] });
  expect(saved.status).toBe(204);
  const broken = await mecha.http("shop", "GET /v1.0/state/store/a1");
  expect(broken.status).toBe(500);
  expect(broken.text).toContain("disk on fire");
  expect((await mecha.http("shop", "GET /v1.0/state/store/b1")).status).toBe(204);
  expect((await mecha.http("orders", "GET /v1.0/state/store/a1")).status).toBe(204);
});

test("of two policies on one block of a target the older counts, and the other is named in the log", async () => {
  const abort = (status: number) =>
    `{ ${toOrders}, fault: { abort: { percentage: 100, httpStatus: ${status} } } }`;
  const { call, mecha } = await shopAndOrders([
    trafficPolicy("zeta", abort(501)),
    trafficPolicy("alpha", abort(502)),
  ]);
  expect((await call()).status).toBe(501);
  expect(mecha.log()).toContain("a TrafficPolicy is conflicted");
});

test("a policy for a component that does not exist is named in the log", async () => {
  const target = "targetRefs: [ { kind: Component, name: stroe } ]";
  const { mecha } = await shopAndOrders([
    trafficPolicy("a", `{ ${target}, fault: { delay: { fixedDelay: 1ms } } }`),
  ]);
  expect(mecha.log()).toContain("a TrafficPolicy is for Component stroe, which does not exist");
});
