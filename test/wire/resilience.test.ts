import { afterEach, describe, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import { EtagMismatch } from "../../src/component/state-store.ts";
import type { HttpReply } from "../../src/net/http1/types.ts";
import type { InvokeHttpRequest, Invoker } from "../../src/peer/invoker.ts";
import type { Resource } from "../../src/resource/resource.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { startServer, type TestServer } from "./server.ts";

const servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

const policies = {
  timeouts: { short: "20ms" },
  retries: { twice: { policy: "constant", duration: "1ms", maxRetries: 2 } },
  circuitBreakers: { simple: { timeout: "1h" } },
};

async function start(targets: object, changes: Parameters<typeof startServer>[0] = {}): Promise<TestServer> {
  const resource = { kind: "Resiliency", name: "r", namespace: "default", spec: { policies, targets } };
  const server = await startServer({ ...changes, resources: [resource as unknown as Resource] });
  servers.push(server);
  return server;
}

const outbound = (policy: object) => ({ components: { flaky: { outbound: policy } } });

/** Fails the first calls, each kind of call on its own count. */
function flakyStore(failures: number, failure = () => new Error("try again")) {
  const calls: Record<string, number> = {};
  const call = async (name: string): Promise<undefined> => {
    calls[name] = (calls[name] ?? 0) + 1;
    if (calls[name] <= failures) throw failure();
  };
  const store: StateStore = {
    features: new Set<never>(),
    get: () => call("get"),
    set: () => call("set"),
    delete: () => call("delete"),
    transact: () => call("transact"),
    close: async () => {},
  };
  return { store, calls };
}

describe("resilience of components", () => {
  test("repeats what fails, and counts one call", async () => {
    const server = await start(outbound({ retry: "twice" }));
    const { store, calls } = flakyStore(2);
    server.app.components.put("state", "flaky", store);
    expect((await server.http("GET /v1.0/state/flaky/a")).status).toBe(204);
    expect((await server.http("POST /v1.0/state/flaky", { body: '[{"key":"a"}]' })).status).toBe(204);
    expect((await server.http("DELETE /v1.0/state/flaky/a")).status).toBe(204);
    expect(calls).toEqual({ get: 3, set: 3, delete: 3 });
    const labels = '{app_id="shop",component="flaky",namespace="default",operation="get",success="true"}';
    expect(server.app.telemetry.metrics.text()).toContain(`dapr_component_state_count${labels} 1\n`);
  });

  test("reports the last failure as ever", async () => {
    const server = await start(outbound({ retry: "twice" }));
    server.app.components.put("state", "flaky", flakyStore(3).store);
    const answer = await server.http("GET /v1.0/state/flaky/a");
    expect([answer.status, JSON.parse(answer.body).message]).toEqual([
      500,
      "fail to get a from state store flaky: try again",
    ]);
  });

  test("does not repeat what an etag forbids", async () => {
    const server = await start(outbound({ retry: "twice" }));
    const { store, calls } = flakyStore(9, () => new EtagMismatch());
    server.app.components.put("state", "flaky", store);
    expect((await server.http("POST /v1.0/state/flaky", { body: '[{"key":"a","etag":"1"}]' })).status).toBe(
      409,
    );
    expect(calls.set).toBe(1);
  });

  test("cuts slow calls short", async () => {
    const server = await start(outbound({ timeout: "short" }));
    const { store } = flakyStore(0);
    server.app.components.put("state", "flaky", { ...store, get: () => new Promise(() => {}) });
    const answer = await server.http("GET /v1.0/state/flaky/a");
    expect(JSON.parse(answer.body).message).toBe(
      "fail to get a from state store flaky: context deadline exceeded",
    );
  });

  test("stops calling what keeps failing", async () => {
    const server = await start(outbound({ circuitBreaker: "simple" }));
    const { store, calls } = flakyStore(99);
    server.app.components.put("state", "flaky", store);
    for (let i = 0; i < 6; i++) await server.http("GET /v1.0/state/flaky/a");
    const answer = await server.http("GET /v1.0/state/flaky/a");
    expect(JSON.parse(answer.body).message).toBe(
      "fail to get a from state store flaky: circuit breaker is open",
    );
    expect(calls.get).toBe(6);
  });

  test("covers secrets, locks, configuration and bindings", async () => {
    const server = await start(outbound({ retry: "twice" }));
    const { components } = server.app;
    let calls = 0;
    const flaky = async <T>(value: T): Promise<T> => {
      if (++calls % 3 !== 0) throw new Error("try again");
      return value;
    };
    const close = async () => {};
    components.put("secretstores", "flaky", {
      features: new Set<never>(),
      get: () => flaky({ k: "v" }),
      bulkGet: () => flaky({}),
      close,
    });
    components.put("lock", "flaky", {
      tryLock: () => flaky(1),
      unlock: () => flaky("success" as const),
      close,
    });
    components.put("configuration", "flaky", {
      get: () => flaky({ a: { value: "1", version: "", metadata: {} } }),
      subscribe: () => flaky(async () => {}),
      close,
    });
    components.put("bindings", "flaky", { operations: ["create"], invoke: () => flaky(undefined), close });
    const lock = { body: '{"resourceId":"r","lockOwner":"o","expiryInSeconds":1}' };
    const answers = [
      await server.http("GET /v1.0/secrets/flaky/k"),
      await server.http("GET /v1.0/secrets/flaky/bulk"),
      await server.http("POST /v1.0-alpha1/lock/flaky", lock),
      await server.http("POST /v1.0-alpha1/unlock/flaky", lock),
      await server.http("GET /v1.0/configuration/flaky"),
      await server.http("POST /v1.0/bindings/flaky", { body: '{"operation":"create"}' }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 204]);
    expect(calls).toBe(18);
  });
});

describe("resilience of publishing", () => {
  function flakyBroker(failures: number) {
    const sent: Record<string, unknown>[] = [];
    const broker: PubSub = {
      features: new Set<never>(),
      async publish({ data }) {
        sent.push(JSON.parse(Buffer.from(data).toString()));
        if (sent.length <= failures) throw new Error("try again");
      },
      subscribe: async () => ({ close: async () => {} }),
      close: async () => {},
    };
    return { broker, sent };
  }

  test("repeats the same event", async () => {
    const server = await start(outbound({ retry: "twice" }));
    const { broker, sent } = flakyBroker(2);
    server.app.components.put("pubsub", "flaky", broker);
    expect((await server.http("POST /v1.0/publish/flaky/t", { body: "1" })).status).toBe(204);
    expect(sent).toHaveLength(3);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
  });

  test("repeats only the entries that failed", async () => {
    const server = await start(outbound({ retry: "twice" }));
    const { broker, sent } = flakyBroker(1);
    server.app.components.put("pubsub", "flaky", broker);
    const entries = [1, 2].map((n) => ({ entryId: `${n}`, event: n, contentType: "application/json" }));
    const answer = await server.http("POST /v1.0/publish/bulk/flaky/t", { body: JSON.stringify(entries) });
    expect(answer.status).toBe(204);
    expect(sent.map(({ data }) => data)).toEqual([1, 2, 1]);
  });

  test("does not repeat the publisher's mistakes", async () => {
    const server = await start(outbound({ retry: "twice" }));
    const { broker, sent } = flakyBroker(0);
    server.app.components.put("pubsub", "flaky", broker, { allowedTopics: "other" });
    expect((await server.http("POST /v1.0/publish/flaky/t", { body: "1" })).status).toBe(403);
    expect(sent).toEqual([]);
  });

  test("names an open breaker as a failure to publish", async () => {
    const server = await start(outbound({ circuitBreaker: "simple" }));
    server.app.components.put("pubsub", "flaky", flakyBroker(99).broker);
    for (let i = 0; i < 6; i++) await server.http("POST /v1.0/publish/flaky/t", { body: "1" });
    const answer = await server.http("POST /v1.0/publish/flaky/t", { body: "1" });
    expect(JSON.parse(answer.body)).toMatchObject({
      errorCode: "ERR_PUBSUB_PUBLISH_MESSAGE",
      message: "error when publishing to topic t in pubsub flaky: circuit breaker is open",
    });
  });
});

describe("resilience of invocation", () => {
  /** Answers with the statuses in order, then with 200; keeps the bodies it got. */
  function answering(statuses: number[]): { invoker: Invoker; bodies: string[] } {
    const bodies: string[] = [];
    const invoker: Invoker = {
      async invokeHttp({ request }: InvokeHttpRequest): Promise<HttpReply> {
        bodies.push(Buffer.from(await request.body.bytes(1 << 20)).toString());
        const status = statuses[bodies.length - 1] ?? 200;
        return { status, headers: [], body: `answer ${bodies.length}` };
      },
      async invokeUnary({ data }) {
        bodies.push("");
        if (bodies.length <= statuses.length) throw new Error("try again");
        return { data, contentType: "", headers: [], trailers: [] };
      },
      upstreams: () => [],
      refsNotPermitted: () => [],
      routeHttp: () => Promise.reject(new Error("no gateway in this test")),
      routeGrpc: () => ({
        kind: "proxy",
        connect: () => Promise.reject(new Error("no gateway in this test")),
      }),
      proxy: () => ({ kind: "proxy", connect: () => Promise.reject(new Error("unused")) }),
      close: async () => {},
    };
    return { invoker, bodies };
  }
  const toCart = (policy: object) => ({ apps: { cart: policy } });
  const line = "POST /v1.0/invoke/cart/method/x";

  test("repeats failing answers with the same body", async () => {
    const { invoker, bodies } = answering([500, 503]);
    const server = await start(toCart({ retry: "twice" }), { invoker });
    const answer = await server.http(line, { body: "order" });
    expect([answer.status, answer.body]).toEqual([200, "answer 3"]);
    expect(bodies).toEqual(["order", "order", "order"]);
  });

  test("passes the last failing answer on as it is", async () => {
    const { invoker } = answering([500, 500, 418]);
    const server = await start(toCart({ retry: "twice" }), { invoker });
    const answer = await server.http(line, { body: "order" });
    expect([answer.status, answer.body]).toEqual([418, "answer 3"]);
  });

  test("leaves other apps alone", async () => {
    const { invoker, bodies } = answering([500]);
    const server = await start(toCart({ retry: "twice" }), { invoker });
    expect((await server.http("POST /v1.0/invoke/other/method/x")).status).toBe(500);
    expect(bodies).toHaveLength(1);
  });

  test("opens a breaker per method", async () => {
    const { invoker, bodies } = answering(Array.from({ length: 6 }, () => 500));
    const server = await start(toCart({ circuitBreaker: "simple" }), { invoker });
    for (let i = 0; i < 6; i++) await server.http(line);
    const refused = await server.http(`${line}?other=query`);
    expect([refused.status, JSON.parse(refused.body).message]).toEqual([
      500,
      "failed to invoke, id: cart, err: circuit breaker is open",
    ]);
    expect(bodies).toHaveLength(6);
    expect((await server.http("POST /v1.0/invoke/cart/method/y")).status).toBe(200);
  });

  test("repeats legacy calls over gRPC", async () => {
    const { invoker, bodies } = answering([1, 1]);
    const server = await start(toCart({ retry: "twice" }), { invoker });
    await server.call(Dapr.method.invokeService, { id: "cart", message: { method: "x" } });
    expect(bodies).toHaveLength(3);
  });
});
