import { afterEach, expect, test } from "bun:test";
import { shopAndOrders, stopAll, trafficPolicy } from "./traffic-fixture.ts";

afterEach(stopAll);

const toOrders = "targetRefs: [ { kind: App, name: orders } ]";
const outage = (calls: number): { statuses: number[] } => ({ statuses: Array(calls * 10).fill(503) });

test("a full outage costs at most 1.2 times the load when there is a budget", async () => {
  const calls = 400;
  const retries = "retries: { attempts: 5, retryOn: 5xx, backoff: 1ms }";
  const budget = "retryBudget: { percent: 20, minRetryConcurrency: 0 }";
  const { call, orders } = await shopAndOrders(
    [trafficPolicy("a", `{ ${toOrders}, ${retries}, ${budget} }`)],
    outage(calls),
  );
  let left = calls;
  const caller = async (): Promise<void> => {
    while (left-- > 0) expect((await call()).status).toBe(503);
  };
  await Promise.all(Array.from({ length: 20 }, caller));
  expect(orders.requests.length).toBeGreaterThan(calls);
  expect(orders.requests.length).toBeLessThanOrEqual(calls * 1.2);
});

test("the same outage without a budget is a storm", async () => {
  const { call, orders } = await shopAndOrders(
    [trafficPolicy("a", `{ ${toOrders}, retries: { attempts: 5, retryOn: 5xx, backoff: 1ms } }`)],
    outage(10),
  );
  await Promise.all(Array.from({ length: 10 }, () => call()));
  expect(orders.requests).toHaveLength(60);
});

test("a fallback sends the same request to another app", async () => {
  const { mecha, backup } = await shopAndOrders(
    [trafficPolicy("a", `{ ${toOrders}, fallback: { to: "app://backup" } }`)],
    { statuses: [500] },
  );
  const answer = await mecha.http("shop", "POST /v1.0/invoke/orders/method/pay?id=7", {
    body: { amount: 3 },
  });
  expect(answer.status).toBe(200);
  expect(answer.text).toBe("backup");
  expect(backup.requests.map(({ method, target, text }) => `${method} ${target} ${text}`)).toEqual([
    'POST /pay?id=7 {"amount":3}',
  ]);
});

test("an app that is away is a connect-failure: tried again, and then answered for", async () => {
  const retries = "retries: { attempts: 2, backoff: 1ms }";
  const direct = '{ status: 203, body: "{}" }';
  const { call, orders, mecha } = await shopAndOrders([
    trafficPolicy(
      "a",
      `{ ${toOrders}, ${retries}, fallback: { on: [ connect-failure ], directResponse: ${direct} } }`,
    ),
  ]);
  expect((await call()).status).toBe(200);
  await orders.close();
  const answer = await call();
  expect(answer.status).toBe(203);
  expect(answer.header("content-type")).toBe("application/json");
  const { metrics } = mecha.ports("shop") as unknown as { metrics: number };
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  expect(text).toMatch(/mecha_traffic_activations_total\{[^}]*block="retries"[^}]*what="retry"\} 2/);
});

test("Retry-After is waited for, and one that is too long is not", async () => {
  const policy = `{ ${toOrders}, retries: { attempts: 1, retryOn: "503", backoff: 1ms, retryAfterMax: 5s } }`;
  const told = async (seconds: number): Promise<number> => {
    const { call } = await shopAndOrders([trafficPolicy("a", policy)], {
      ...{ statuses: [503], headers: { "Retry-After": `${seconds}` } },
    });
    const startedMs = performance.now();
    expect((await call()).status).toBe(200);
    return performance.now() - startedMs;
  };
  expect(await told(1)).toBeGreaterThanOrEqual(995);
  // It would be a minute.
  expect(await told(60)).toBeLessThan(30_000);
});

test("calls of all callers open one breaker, and its state is a metric", async () => {
  const { call, mecha, orders } = await shopAndOrders(
    [trafficPolicy("a", `{ ${toOrders}, circuitBreaker: { timeout: 1h } }`)],
    outage(1),
  );
  for (let i = 0; i < 6; i++) expect((await call(`GET /v1.0/invoke/orders/method/m${i}`)).status).toBe(503);
  const refused = await call();
  expect(refused.status).toBe(500);
  expect(refused.text).toContain("circuit breaker is open");
  expect(orders.requests).toHaveLength(6);
  expect(mecha.log()).toContain("a circuit breaker changed its state");
});
