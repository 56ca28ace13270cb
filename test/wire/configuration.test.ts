import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { AppChannel, AppHttpRequest } from "../../src/app/channel.ts";
import type { ConfigurationItem, ConfigurationStore } from "../../src/component/configuration-store.ts";
import { Code } from "../../src/errors.ts";
import { noBody as emptyBody } from "../../src/net/http1/body.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { errorBody, exchanges } from "./exchanges.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

type Items = Record<string, ConfigurationItem>;

class TestStore implements ConfigurationStore {
  items: Items = {
    a: { value: "1", version: "v1", metadata: {} },
    b: { value: "2", version: "", metadata: { unit: "ms" } },
  };
  listeners = new Set<(items: Items) => void>();
  failure: Error | undefined;

  async get(keys: readonly string[]): Promise<Items> {
    if (this.failure) throw this.failure;
    const wanted = keys.length === 0 ? Object.keys(this.items) : keys;
    return Object.fromEntries(
      wanted.flatMap((key) => (this.items[key] === undefined ? [] : [[key, this.items[key]]])),
    ) as Items;
  }

  async subscribe(_keys: readonly string[], _metadata: object, listener: (items: Items) => void) {
    if (this.failure) throw this.failure;
    this.listeners.add(listener);
    return async () => {
      if (this.failure) throw this.failure;
      this.listeners.delete(listener);
    };
  }

  change(items: Items): void {
    for (const listener of this.listeners) listener(items);
  }

  async close(): Promise<void> {}
}

let server: TestServer;
const store = new TestStore();
const posted: AppHttpRequest[] = [];
const { method } = Dapr;

const channel = {
  protocol: "http",
  async http(request: AppHttpRequest) {
    posted.push(request);
    return { status: 200, reason: "OK", rawHeaders: [], header: () => undefined, body: emptyBody };
  },
} as unknown as AppChannel;

beforeAll(async () => {
  server = await startServer({ channel });
  server.app.components.put("configuration", "config", store);
});
afterAll(() => server.close());

async function until(isSo: () => boolean): Promise<void> {
  const deadlineMs = Date.now() + 5_000;
  while (!isSo()) {
    if (Date.now() > deadlineMs) throw new Error("it did not come to be");
    await Bun.sleep(1);
  }
}

async function failingStore<T>(work: () => Promise<T>): Promise<T> {
  store.failure = new Error("etcd is away");
  try {
    return await work();
  } finally {
    store.failure = undefined;
  }
}

describe.each(["v1.0", "v1.0-alpha1"])("configuration over HTTP, %s", (version) => {
  const base = `GET /${version}/configuration`;
  exchanges(
    () => server,
    [
      {
        title: "reads all",
        line: `${base}/config`,
        status: 200,
        reply: '{"a":{"value":"1","version":"v1"},"b":{"value":"2","metadata":{"unit":"ms"}}}\n',
        replyHeaders: { "content-type": "application/json" },
      },
      {
        title: "reads some",
        line: `${base}/config?key=b&key=c`,
        status: 200,
        reply: { b: { value: "2", metadata: { unit: "ms" } } },
      },
      { title: "reads none", line: `${base}/config?key=c`, status: 204, reply: "" },
      {
        title: "unknown store",
        line: `${base}/nope?key=a`,
        status: 400,
        reply: errorBody("ERR_CONFIGURATION_STORE_NOT_FOUND", "configuration store nope not found"),
      },
      {
        title: "unknown subscription",
        line: `${base}/config/none/unsubscribe`,
        status: 500,
        reply: errorBody(
          "ERR_CONFIGURATION_UNSUBSCRIBE",
          "failed to unsubscribe to configuration request none: subscription with id none does not exist",
        ),
      },
    ],
  );

  test("posts changes to the app until unsubscribed", async () => {
    posted.length = 0;
    const answer = await server.http(`${base}/config/subscribe?key=a`);
    const { id } = JSON.parse(answer.body);
    expect([answer.status, answer.body]).toEqual([200, `{"id":"${id}"}\n`]);
    const items = { a: { value: "3", version: "v2", metadata: {} } };
    store.change(items);
    await until(() => posted.length === 1);
    expect(posted[0]).toMatchObject({
      method: "POST",
      target: "/configuration/config/a",
      headers: ["Content-Type", "application/json"],
      body: JSON.stringify({ id, items }),
    });
    const ended = await server.http(`${base}/config/${id}/unsubscribe`);
    expect([ended.status, ended.body]).toEqual([200, '{"ok":true}\n']);
    expect(store.listeners.size).toBe(0);
  });
});

describe("configuration errors over HTTP", () => {
  test("reports the store's failures", async () => {
    const read = await failingStore(() => server.http("GET /v1.0/configuration/config?key=a&key=b"));
    expect(JSON.parse(read.body)).toEqual(
      errorBody("ERR_CONFIGURATION_GET", "failed to get [a b] from Configuration store config: etcd is away"),
    );
    const subscribed = await failingStore(() =>
      server.http("GET /v1.0/configuration/config/subscribe?key=a"),
    );
    expect(JSON.parse(subscribed.body)).toEqual(
      errorBody(
        "ERR_CONFIGURATION_SUBSCRIBE",
        "failed to subscribe [a] from Configuration store config: etcd is away",
      ),
    );
  });

  test("needs stores, and an app to post to", async () => {
    const bare = await startServer();
    try {
      const none = await bare.http("GET /v1.0/configuration/config");
      expect([none.status, JSON.parse(none.body)]).toEqual([
        500,
        errorBody("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured"),
      ]);
      bare.app.components.put("configuration", "config", store);
      const nobody = await bare.http("GET /v1.0/configuration/config/subscribe");
      expect([nobody.status, JSON.parse(nobody.body).errorCode]).toEqual([500, "ERR_APP_CHANNEL_NIL"]);
    } finally {
      await bare.close();
    }
  });
});

describe.each(["", "Alpha1"] as const)("configuration over gRPC%s", (suffix) => {
  const subscribe = method[`subscribeConfiguration${suffix}`];

  test("reads", async () => {
    const { items } = await server.call(method[`getConfiguration${suffix}`], {
      storeName: "config",
      keys: ["a"],
    });
    expect(items.a).toMatchObject({ value: "1", version: "v1" });
  });

  function openStream() {
    const stream = server.grpc.stream(`/${subscribe.parent.typeName}/${subscribe.name}`, {
      timeoutMs: 10_000,
    });
    const responses = stream.responses[Symbol.asyncIterator]();
    return {
      cancel: () => stream.cancel(),
      async start(storeName: string) {
        await stream.send(toBinary(subscribe.input, create(subscribe.input, { storeName, keys: ["a"] })));
        stream.end();
      },
      async next() {
        const { done, value } = await responses.next();
        return done ? undefined : fromBinary(subscribe.output, value);
      },
    };
  }

  test("streams changes after the id, and ends with an unsubscribe", async () => {
    const stream = openStream();
    await stream.start("config");
    const first = await stream.next();
    expect(first?.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(first?.items).toEqual({});
    store.change({ a: { value: "9", version: "v9", metadata: {} } });
    const change = await stream.next();
    expect([change?.id, change?.items.a?.value]).toEqual([first?.id, "9"]);
    const name = `unsubscribeConfiguration${suffix}` as const;
    const ended = await server.call(method[name], { storeName: "config", id: first?.id });
    expect(ended).toMatchObject({ ok: true, message: "" });
    expect(await stream.next()).toBeUndefined();
    const again = await server.call(method[name], { storeName: "config", id: first?.id });
    expect(again.ok).toBe(false);
    expect(again.message).toContain("failed to unsubscribe to configuration request");
  });

  test("unsubscribes when the stream goes away", async () => {
    const stream = openStream();
    await stream.start("config");
    await stream.next();
    expect(store.listeners.size).toBe(1);
    stream.cancel();
    await until(() => store.listeners.size === 0);
  });

  test("ends the stream when the store is replaced", async () => {
    const stream = openStream();
    await stream.start("config");
    await stream.next();
    server.app.components.put("configuration", "config", store);
    expect(await stream.next()).toBeUndefined();
    store.listeners.clear();
  });

  test("reports an unknown store", async () => {
    const stream = openStream();
    await stream.start("nope");
    const failure = await failureOf(stream.next());
    expect([failure.code, failure.message]).toEqual([
      Code.InvalidArgument,
      "configuration store nope not found",
    ]);
  });
});
