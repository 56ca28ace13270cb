import { afterEach, expect, test } from "bun:test";
import grpc from "@grpc/grpc-js";
import { Code } from "../../src/errors.ts";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { GetStateRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/state_pb.js";
import { grpcApi } from "./grpc-api.ts";

const started: (TestMecha | FakeApp)[] = [];

afterEach(async () => {
  for (const one of started.splice(0).reverse()) await ("stop" in one ? one.stop() : one.close());
});

function keep<T extends TestMecha | FakeApp>(one: T): T {
  started.push(one);
  return one;
}

/** A RateLimit whose counts do not come back while a test runs. */
function limit(target: string, more = "", name = "few"): string {
  return `apiVersion: mecha.run/v1alpha1
kind: RateLimit
metadata: { name: ${name} }
spec:
  targetRefs: [${target}]
${more.includes("limits:") ? "" : "  limits: [{ requests: 2, per: 1h }]\n"}${more}
---
`;
}

async function shop(
  resources: string,
  handlers: Record<string, () => object> = {},
  subscriptions = [] as object[],
) {
  const app = keep(
    await fakeApp({
      subscriptions: subscriptions as never,
      handlers: { "GET /hi": () => ({}), "POST /hi": () => ({}), ...handlers },
    }),
  );
  const apps = [{ appId: "orders", app }, { appId: "web" }, { appId: "till" }];
  const mecha = keep(await startMecha({ apps, resources }));
  return { app, mecha };
}

const statuses = async (times: number, call: (index: number) => Promise<{ status: number }>) => {
  const seen: number[] = [];
  for (let i = 0; i < times; i++) seen.push((await call(i)).status);
  return seen.join(" ");
};

test("calls of an app over its limit are 429 with the headers of the draft", async () => {
  const { mecha, app } = await shop(limit("{ kind: App, name: orders }"));
  const hi = () => mecha.http("web", "GET /v1.0/invoke/orders/method/hi");
  expect(await statuses(2, hi)).toBe("200 200");
  const refused = await hi();
  expect(refused.status).toBe(429);
  expect(refused.json()).toMatchObject({ errorCode: "ERR_DIRECT_INVOKE" });
  expect(refused.text).toContain("rate limit few: more than 2 in 3600s");
  expect(refused.header("x-ratelimit-limit")).toBe("2, 2;w=3600");
  expect(refused.header("x-ratelimit-remaining")).toBe("0");
  expect(Number(refused.header("retry-after"))).toBeGreaterThan(1700);
  expect(Number(refused.header("x-ratelimit-reset"))).toBeGreaterThan(3500);
  expect(app.requests.filter(({ target }) => target === "/hi")).toHaveLength(2);
});

test("callers that a key tells apart have counts of their own, whatever they say of themselves", async () => {
  const limits = "  limits: [{ requests: 1, per: 1h, key: [source.app] }]";
  const { mecha } = await shop(limit("{ kind: App, name: orders }", limits));
  const hi = (from: string, forwarded: string) => () =>
    mecha.http(from, "GET /v1.0/invoke/orders/method/hi", {
      headers: { "X-Forwarded-For": forwarded, "dapr-caller-app-id": `${from}${forwarded}` },
    });
  expect(await statuses(2, hi("web", "10.0.0.1"))).toBe("200 429");
  expect(await statuses(1, hi("web", "10.0.0.2"))).toBe("429");
  expect(await statuses(2, hi("till", "10.0.0.1"))).toBe("200 429");
});

test("all limits that match have to let a call pass", async () => {
  const limits = `  limits:
    - { requests: 3, per: 1h }
    - { requests: 1, per: 1h, match: 'request.method == "POST"', key: ['request.headers["x-user"]'] }`;
  const { mecha } = await shop(limit("{ kind: App, name: orders }", limits));
  const hi = (verb: string, user: string) => () =>
    mecha.http("web", `${verb} /v1.0/invoke/orders/method/hi`, { headers: { "X-User": user } });
  expect(await statuses(2, hi("POST", "ann"))).toBe("200 429");
  expect(await statuses(1, hi("POST", "bob"))).toBe("200");
  // What was refused has cost nothing of the limit for all.
  expect(await statuses(2, hi("GET", "ann"))).toBe("200 429");
});

test("what an app calls is limited at the caller, and the answers that pass say what is left", async () => {
  const { mecha } = await shop(limit("{ kind: App, name: orders }", "  direction: outbound"));
  const hi = (from: string) => () => mecha.http(from, "GET /v1.0/invoke/orders/method/hi");
  const first = await hi("web")();
  expect(first.header("x-ratelimit-remaining")).toBe("1");
  expect(await statuses(2, hi("web"))).toBe("200 429");
  expect(await statuses(3, hi("till"))).toBe("200 200 429");
});

for (const [what, target, line, passed, body] of [
  [
    "state",
    "{ kind: Component, name: statestore }",
    "POST /v1.0/state/statestore",
    204,
    [{ key: "a", value: 1 }],
  ],
  ["publish", "{ kind: Component, name: pubsub }", "POST /v1.0/publish/pubsub/paid", 204, {}],
  ["a topic", "{ kind: Topic, name: pubsub/paid }", "POST /v1.0/publish/pubsub/paid", 204, {}],
  [
    "a binding",
    "{ kind: Component, name: hook }",
    "POST /v1.0/bindings/hook",
    200,
    { operation: "get", data: "x" },
  ],
] as const) {
  test(`uses of ${what} over the limit are 429`, async () => {
    const hook = keep(await fakeApp({ handlers: { "GET /": () => ({ status: 204 }) } }));
    const component = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: hook }
spec:
  type: bindings.http
  version: v1
  metadata: [{ name: url, value: "http://127.0.0.1:${hook.port}" }]
`;
    const { mecha } = await shop(limit(target, "  direction: outbound") + component);
    const use = () => mecha.http("web", line, { body });
    expect(await statuses(2, use)).toBe(`${passed} ${passed}`);
    const refused = await use();
    expect(refused.status).toBe(429);
    expect(refused.json()).toMatchObject({ errorCode: "ERR_RATE_LIMIT" });
    expect(refused.header("retry-after")).toBeDefined();
    expect(refused.header("x-ratelimit-limit")).toBe("2, 2;w=3600");
  });
}

test("a limit of one topic leaves the others alone", async () => {
  const { mecha } = await shop(limit("{ kind: Topic, name: pubsub/paid }", "  direction: outbound"));
  const publish = (topic: string) => () =>
    mecha.http("web", `POST /v1.0/publish/pubsub/${topic}`, { body: {} });
  expect(await statuses(3, publish("paid"))).toBe("204 204 429");
  expect(await statuses(3, publish("sent"))).toBe("204 204 204");
});

test("a shadow counts and refuses nothing", async () => {
  const { mecha } = await shop(limit("{ kind: App, name: orders }", "  mode: shadow"));
  expect(await statuses(4, () => mecha.http("web", "GET /v1.0/invoke/orders/method/hi"))).toBe(
    "200 200 200 200",
  );
  expect(mecha.log()).toContain("shadow of rate limit few");
});

test("who is delayed gets through when there is room", async () => {
  const limits = `  limits: [{ requests: 10, per: 1s, burst: 1 }]
  onLimit: { action: delay, maxWait: 20s }`;
  const { mecha } = await shop(limit("{ kind: App, name: orders }", limits));
  const startedMs = performance.now();
  const calls = Array.from({ length: 6 }, () => mecha.http("web", "GET /v1.0/invoke/orders/method/hi"));
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
  // The last of them was not due before.
  expect(performance.now() - startedMs).toBeGreaterThan(490);
});

test("who would have to wait longer than maxWait is refused at once", async () => {
  const { mecha } = await shop(
    limit("{ kind: App, name: orders }", "  onLimit: { action: delay, maxWait: 1s }"),
  );
  expect(await statuses(3, () => mecha.http("web", "GET /v1.0/invoke/orders/method/hi"))).toBe("200 200 429");
});

test("events over the limit come later, all of them, and none is a dead letter", async () => {
  const subscription = `apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: { name: paid }
spec: { pubsubname: pubsub, topic: paid, routes: { default: /paid }, deadLetterTopic: dead }
scopes: [orders]
---
`;
  const limits = "  limits: [{ requests: 20, per: 1s, burst: 2 }]";
  const resources = subscription + limit("{ kind: Topic, name: pubsub/paid }", limits);
  const { mecha, app } = await shop(resources, { "POST /paid": () => ({}) });
  const delivered = () => app.requests.filter(({ target }) => target === "/paid");
  for (let i = 0; i < 12; i++) await mecha.http("web", "POST /v1.0/publish/pubsub/paid", { body: { i } });
  await until(() => delivered().length === 12, "twelve events");
  expect(mecha.log()).toContain("rate limit few");
});

test("calls over gRPC are RESOURCE_EXHAUSTED", async () => {
  const { mecha } = await shop(limit("{ kind: Component, name: statestore }", "  direction: outbound"));
  const api = grpcApi(mecha, "web");
  const get = () => api.call("GetState", GetStateRequestSchema, { storeName: "statestore", key: "a" });
  await get();
  await get();
  const error = await get().catch((error) => error);
  api.close();
  expect(error.code).toBe(Code.ResourceExhausted);
  expect(error.message).toContain("rate limit few");
});

test("gRPC calls of an app's own services are RESOURCE_EXHAUSTED with the metadata of the draft", async () => {
  const server = new grpc.Server();
  const raw = (bytes: Buffer): Buffer => bytes;
  const path = "/test.v1.Echo/Unary";
  const shape = {
    requestStream: false,
    responseStream: false,
    requestSerialize: raw,
    requestDeserialize: raw,
  };
  const unary = { ...shape, path, responseSerialize: raw, responseDeserialize: raw };
  server.addService(
    { unary },
    { unary: (call: { request: Buffer }, reply: grpc.sendUnaryData<Buffer>) => reply(null, call.request) },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const apps = [{ appId: "echo", app: port, options: { appProtocol: "grpc" as const } }, { appId: "web" }];
  const mecha = keep(await startMecha({ apps, resources: limit("{ kind: App, name: echo }") }));
  const client = new grpc.Client(`127.0.0.1:${mecha.ports("web").grpc}`, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("dapr-app-id", "echo");
  const call = () =>
    new Promise<grpc.ServiceError | null>((resolve) => {
      client.makeUnaryRequest(path, raw, raw, Buffer.from("x"), metadata, (error) => resolve(error));
    });
  expect(await call()).toBeNull();
  expect(await call()).toBeNull();
  const error = await call();
  client.close();
  server.forceShutdown();
  expect(error?.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  expect(error?.metadata.get("x-ratelimit-limit")).toEqual(["2, 2;w=3600"]);
});

test("calls of actors and starts of workflows over the limit are 429", async () => {
  const resources =
    limit("{ kind: ActorType, name: Cat }", "", "cats") +
    limit("{ kind: Workflow, name: approve }", "", "starts");
  const handlers = { "PUT /actors/Cat/tom/method/feed": () => ({}) };
  const app = keep(await fakeApp({ config: { entities: ["Cat"] }, handlers }));
  const mecha = keep(await startMecha({ apps: [{ appId: "orders", app }], resources }));
  await until(
    async () => (await mecha.http("orders", "GET /v1.0/metadata")).text.includes('"type":"Cat"'),
    "the actor type is hosted",
  );
  const feed = () => mecha.http("orders", "POST /v1.0/actors/Cat/tom/method/feed");
  expect(await statuses(3, feed)).toBe("200 200 429");
  const approve = "/v1.0/workflows/dapr/approve";
  const first = await mecha.http("orders", `POST ${approve}/start?instanceID=one`);
  expect(first.status).toBe(202);
  // Only starts count.
  expect(await statuses(5, () => mecha.http("orders", "GET /v1.0/workflows/dapr/one"))).toBe(
    "200 200 200 200 200",
  );
  expect(await statuses(2, () => mecha.http("orders", `POST ${approve}/start`))).toBe("202 429");
  expect(await statuses(2, () => mecha.http("orders", "POST /v1.0/workflows/dapr/one/pause"))).toBe(
    "202 202",
  );
  expect(await statuses(3, () => mecha.http("orders", "POST /v1.0/workflows/dapr/other/start"))).toBe(
    "202 202 202",
  );
});
