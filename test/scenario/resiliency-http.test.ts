import { afterEach, beforeEach, expect, test } from "bun:test";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { startMecha, type TestMecha, until } from "../../src/testing/index.ts";

// Resiliency of calls over HTTP, of events, and of asking an app what it wants; the servers are Node's own.

let server: http.Server;
let requests: string[];
/** Statuses to answer with, in turn; then 200. `0`: no answer at all. */
let statuses: number[];
let mecha: TestMecha | undefined;

beforeEach(async () => {
  requests = [];
  statuses = [];
  server = http.createServer((request, reply) => {
    const { url = "" } = request;
    if (url.startsWith("/dapr/config")) return void reply.writeHead(404).end();
    requests.push(url);
    const status = statuses.shift() ?? 200;
    request.resume();
    if (status === 0) return;
    const wanted = [{ pubsubname: "pubsub", topic: "late", route: "/late" }];
    reply.writeHead(status, { "content-type": "application/json" });
    reply.end(url === "/dapr/subscribe" ? JSON.stringify(wanted) : "{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  await mecha?.stop();
  server.closeAllConnections();
  server.close();
});

const port = () => (server.address() as AddressInfo).port;

async function start(spec: object, app?: number, more = ""): Promise<TestMecha> {
  const resiliency = {
    apiVersion: "dapr.io/v1alpha1",
    kind: "Resiliency",
    metadata: { name: "policies" },
    spec,
  };
  const resources = `${JSON.stringify(resiliency)}\n---\n${more}`;
  mecha = await startMecha({ apps: [{ appId: "shop", ...(app !== undefined && { app }) }], resources });
  return mecha;
}

const endpoint = () => `apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: { name: bank }
spec: { baseUrl: "http://127.0.0.1:${port()}" }
`;

test("calls of an HTTPEndpoint are tried again by their status", async () => {
  const quick = {
    policy: "constant",
    duration: "5ms",
    maxRetries: 2,
    matching: { httpStatusCodes: "429,502-503" },
  };
  const spec = { policies: { retries: { quick } }, targets: { apps: { bank: { retry: "quick" } } } };
  const runtime = await start(spec, undefined, endpoint());
  const call = async (...answers: number[]) => {
    [requests, statuses] = [[], answers];
    const { status } = await runtime.http("shop", "POST /v1.0/invoke/bank/method/pay", { body: "7" });
    return [status, requests.length];
  };
  expect(await call(503, 429)).toEqual([200, 3]);
  expect(await call(502, 502, 503, 503)).toEqual([503, 3]);
  expect(await call(500)).toEqual([500, 1]);
  expect(await call(404)).toEqual([404, 1]);
});

test("an endpoint that does not answer is given up after its timeout, and its breaker opens", async () => {
  const policies = {
    timeouts: { short: "500ms" },
    circuitBreakers: { simple: { trip: "consecutiveFailures >= 2", timeout: "1h" } },
  };
  const targets = { apps: { bank: { timeout: "short", circuitBreaker: "simple" } } };
  const runtime = await start({ policies, targets }, undefined, endpoint());
  statuses = [0, 0];
  const call = async () => (await runtime.http("shop", "GET /v1.0/invoke/bank/method/rates")).text;
  for (let i = 0; i < 2; i++) expect(await call()).toContain("context deadline exceeded");
  expect(await call()).toContain("circuit breaker is open");
  expect(requests).toHaveLength(2);
});

test("events are tried again as the component's inbound policy says, then are dead letters", async () => {
  const retries = { quick: { policy: "constant", duration: "5ms", maxRetries: 2 } };
  const targets = { components: { pubsub: { inbound: { retry: "quick" } } } };
  const subscriptions = ["orders", "dead"].map((topic) => ({
    apiVersion: "dapr.io/v2alpha1",
    kind: "Subscription",
    metadata: { name: topic },
    spec: { pubsubname: "pubsub", topic, routes: { default: `/${topic}` }, deadLetterTopic: "dead" },
  }));
  const more = subscriptions.map((one) => JSON.stringify(one)).join("\n---\n");
  const runtime = await start({ policies: { retries }, targets }, port(), more);
  const publish = () => runtime.http("shop", "POST /v1.0/publish/pubsub/orders", { body: { n: 1 } });
  await until(() => requests.includes("/dapr/subscribe"), "the question for subscriptions");
  [requests, statuses] = [[], [500, 500]];
  await publish();
  await until(() => requests.length === 3, "the third try");
  statuses = [500, 500, 500];
  await publish();
  await until(() => requests.includes("/dead"), "the dead letter");
  expect(requests).toEqual([...Array(6).fill("/orders"), "/dead"]);
});

test("an app is asked for its subscriptions as often as DaprBuiltInInitializationRetries says", async () => {
  const often = { policy: "constant", duration: "10ms", maxRetries: 8 };
  statuses = [500, 500, 500, 500, 500, 500];
  const policies = { retries: { DaprBuiltInInitializationRetries: often } };
  const runtime = await start({ policies, targets: {} }, port());
  await runtime.http("shop", "POST /v1.0/publish/pubsub/late", { body: {} });
  await until(() => requests.includes("/late"), "the event of the late subscription");
  expect(requests.filter((url) => url === "/dapr/subscribe")).toHaveLength(7);
});
