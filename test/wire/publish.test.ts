import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { IncomingMessage, PubSub } from "../../src/component/pubsub.ts";
import { Code } from "../../src/errors.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { detailsOf } from "./details.ts";
import { errorBody, errorInfo, exchanges, resourceInfo } from "./exchanges.ts";
import { testSettings } from "./parts.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

let server: TestServer;
/** What the broker got, newest last. */
const received: IncomingMessage[] = [];

beforeAll(async () => {
  server = await startServer();
  const { components } = server.app;
  const pubsub = components.find("pubsub", "pubsub")?.instance as PubSub;
  for (const topic of ["orders", "a/b", "raw", "bulk", "short"]) {
    await pubsub.subscribe(
      { topic, metadata: {}, consumerGroup: "test", concurrencyMax: 1 },
      async (message) => {
        received.push(message);
      },
    );
  }
  const scoped: PubSub = {
    features: new Set<never>(),
    publish: (message) => pubsub.publish(message),
    subscribe: (request, handler) => pubsub.subscribe(request, handler),
    close: async () => {},
  };
  components.put("pubsub", "scoped", scoped, { allowedTopics: "orders" });
  components.put("pubsub", "broken", {
    features: new Set<never>(),
    publish: () => Promise.reject(new Error("broker is away")),
    subscribe: () => Promise.reject(new Error("broker is away")),
    close: async () => {},
  });
});
afterAll(() => server.close());

const noBody = { status: 204, reply: "" };

async function nextMessage(): Promise<{ topic: string; envelope: Record<string, unknown>; text: string }> {
  const deadlineMs = Date.now() + 5_000;
  while (received.length === 0) {
    if (Date.now() > deadlineMs) throw new Error("nothing was published");
    await Bun.sleep(1);
  }
  const { topic, data } = received.shift() as IncomingMessage;
  const text = Buffer.from(data).toString();
  let envelope = {};
  try {
    envelope = JSON.parse(text);
  } catch {}
  return { topic, envelope, text };
}

describe("publish over HTTP", () => {
  test("wraps the body in an envelope", async () => {
    const answer = await server.http("POST /v1.0/publish/pubsub/orders", {
      body: '{"id":1}',
      headers: { "content-type": "application/json" },
    });
    expect([answer.status, answer.body]).toEqual([204, ""]);
    const { topic, envelope } = await nextMessage();
    expect(topic).toBe("orders");
    expect(envelope).toMatchObject({
      data: { id: 1 },
      datacontenttype: "application/json",
      pubsubname: "pubsub",
      source: "shop",
      specversion: "1.0",
      topic: "orders",
      type: "com.dapr.event.sent",
    });
  });

  test("takes JSON for granted, topics with slashes and PUT", async () => {
    const answer = await server.http("PUT /v1.0/publish/pubsub/a/b", { body: "[1]" });
    expect(answer.status).toBe(204);
    const { topic, envelope } = await nextMessage();
    expect([topic, envelope.data]).toEqual(["a/b", [1]]);
  });

  test("continues the caller's trace", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await server.http("POST /v1.0/publish/pubsub/orders", { body: "1", headers: { traceparent } });
    const { envelope } = await nextMessage();
    expect(envelope.traceparent).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$/);
  });

  test("sends raw payloads untouched", async () => {
    await server.http("POST /v1.0/publish/pubsub/raw?metadata.rawPayload=true", { body: "just text" });
    expect((await nextMessage()).text).toBe("just text");
  });

  test("publishes to the default pub/sub in the short form", async () => {
    expect((await server.http("POST /v1.0/publish/short", { body: "1" })).status).toBe(204);
    expect((await nextMessage()).topic).toBe("short");
  });

  test("has no short form in strict mode", async () => {
    const strict = await startServer({ settings: testSettings({ isStrict: true }) });
    try {
      const answer = await strict.http("POST /v1.0/publish/pubsub", { body: "1" });
      expect(answer.status).toBe(404);
      expect(JSON.parse(answer.body).errorCode).toBe("ERR_TOPIC_NAME_EMPTY");
    } finally {
      await strict.close();
    }
  });

  const forbidden = "topic secret is not allowed for app id shop";
  exchanges(
    () => server,
    [
      {
        title: "unknown pub/sub",
        line: "POST /v1.0/publish/nope/orders?metadata.a=b",
        body: "1",
        status: 404,
        reply: errorBody("ERR_PUBSUB_NOT_FOUND", "pubsub nope is not found", [
          errorInfo("DAPR_PUBSUB_NOT_FOUND", { a: "b" }),
          resourceInfo("pubsub", "nope", "pubsub nope is not found"),
        ]),
      },
      {
        title: "no pub/sub",
        line: "POST /v1.0/publish/",
        status: 404,
        reply: errorBody("ERR_PUBSUB_EMPTY", "pubsub name is empty", [
          errorInfo("DAPR_PUBSUB_NAME_EMPTY"),
          resourceInfo("pubsub", "", "pubsub name is empty"),
        ]),
      },
      {
        title: "no topic",
        line: "POST /v1.0/publish/pubsub/",
        status: 404,
        reply: errorBody("ERR_TOPIC_NAME_EMPTY", "topic is empty in pubsub pubsub", [
          errorInfo("DAPR_PUBSUB_TOPIC_NAME_EMPTY"),
          resourceInfo("pubsub", "pubsub", "topic is empty in pubsub pubsub"),
        ]),
      },
      {
        title: "topic out of scope",
        line: "POST /v1.0/publish/scoped/secret",
        body: "1",
        status: 403,
        reply: new RegExp(
          `"errorCode":"ERR_PUBSUB_FORBIDDEN","message":"${forbidden}","details":.*DAPR_PUBSUB_FORBIDDEN`,
        ),
      },
      {
        title: "rawPayload that is no boolean",
        line: "POST /v1.0/publish/pubsub/orders?metadata.rawPayload=perhaps",
        body: "1",
        status: 400,
        reply:
          /"errorCode":"ERR_PUBSUB_REQUEST_METADATA","message":"failed deserializing metadata. Error: .*perhaps/,
      },
      {
        title: "CloudEvent that is none",
        line: "POST /v1.0/publish/pubsub/orders",
        headers: { "content-type": "application/cloudevents+json" },
        body: "nope",
        status: 500,
        reply: /"errorCode":"ERR_PUBSUB_CLOUD_EVENTS_SER","message":"cannot create cloudevent"/,
      },
      {
        title: "failing broker",
        line: "POST /v1.0/publish/broken/orders",
        body: "1",
        status: 500,
        reply:
          /"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE","message":"error when publishing to topic orders in pubsub broken: .*broker is away/,
      },
    ],
  );

  test("no pub/sub component at all", async () => {
    const bare = await startServer();
    try {
      bare.app.components.remove("pubsub", "pubsub");
      const answer = await bare.http("POST /v1.0/publish/pubsub/orders", { body: "1" });
      expect([answer.status, JSON.parse(answer.body).errorCode]).toEqual([400, "ERR_PUBSUB_NOT_CONFIGURED"]);
    } finally {
      await bare.close();
    }
  });

  test("a body over the limit", async () => {
    const limited = await startServer({ settings: testSettings({ maxBodyBytes: 10 }) });
    try {
      const answer = await limited.http("POST /v1.0/publish/pubsub/orders", { body: "x".repeat(20) });
      expect([answer.status, JSON.parse(answer.body).errorCode]).toEqual([500, "ERR_PUBSUB_PUBLISH_MESSAGE"]);
    } finally {
      await limited.close();
    }
  });
});

describe("bulk publish over HTTP", () => {
  const entry = (entryId: string, event: unknown, contentType: string) => ({ entryId, event, contentType });

  test.each(["/v1.0", "/v1.0-alpha1"])("publishes each entry in order at %s", async (version) => {
    const entries = [
      entry("1", { n: 1 }, "application/json"),
      entry("2", "words", "text/plain"),
      entry("3", btoa("bytes"), "application/octet-stream"),
      entry(
        "4",
        { specversion: "1.0", id: "own", source: "me", type: "t", data: 4 },
        "application/cloudevents+json",
      ),
    ];
    const answer = await server.http(`POST ${version}/publish/bulk/pubsub/bulk`, {
      body: JSON.stringify(entries),
    });
    expect([answer.status, answer.body]).toEqual([204, ""]);
    const envelopes = [];
    while (envelopes.length < entries.length) envelopes.push((await nextMessage()).envelope);
    expect(envelopes[0]).toMatchObject({ data: { n: 1 } });
    expect(envelopes[1]).toMatchObject({ data: "words" });
    expect(envelopes[2]).toMatchObject({ data_base64: btoa("bytes") });
    expect(envelopes[3]).toMatchObject({ id: "own", data: 4 });
  });

  exchanges(
    () => server,
    [
      { title: "nothing to do", line: "POST /v1.0/publish/bulk/pubsub/bulk", body: "[]", ...noBody },
      {
        title: "unreadable body",
        line: "POST /v1.0/publish/bulk/pubsub/bulk",
        body: "{",
        status: 400,
        reply:
          /"errorCode":"ERR_PUBSUB_EVENTS_SER","message":"error when unmarshaling the request for topic bulk pubsub pubsub: /,
      },
      {
        title: "duplicate entryId",
        line: "POST /v1.0/publish/bulk/pubsub/bulk",
        body: JSON.stringify([entry("1", 1, "application/json"), entry("1", 2, "application/json")]),
        status: 400,
        reply: errorBody(
          "ERR_PUBSUB_EVENTS_SER",
          "error marshaling events to bytes for topic bulk pubsub pubsub. error: entryId is duplicated or not present for entry",
          [
            errorInfo("DAPR_PUBSUB_MARSHAL_EVENTS", {
              appID: "shop",
              error: "entryId is duplicated or not present for entry",
            }),
            resourceInfo(
              "pubsub",
              "pubsub",
              "error marshaling events to bytes for topic bulk pubsub pubsub. error: entryId is duplicated or not present for entry",
            ),
          ],
        ),
      },
      {
        title: "missing entryId",
        line: "POST /v1.0/publish/bulk/pubsub/bulk",
        body: JSON.stringify([{ event: 1, contentType: "application/json" }]),
        status: 400,
        reply: /entryId is duplicated or not present for entry/,
      },
      {
        title: "event that does not fit its content type",
        line: "POST /v1.0/publish/bulk/pubsub/bulk",
        body: JSON.stringify([entry("1", { n: 1 }, "text/plain")]),
        status: 400,
        reply: /"errorCode":"ERR_PUBSUB_EVENTS_SER".*mismatch between contentType and event/,
      },
      {
        title: "broken base64",
        line: "POST /v1.0/publish/bulk/pubsub/bulk",
        body: JSON.stringify([entry("1", "%%%", "application/octet-stream")]),
        status: 400,
        reply: /unable to decode base64/,
      },
      {
        title: "failing broker",
        line: "POST /v1.0/publish/bulk/broken/bulk",
        body: JSON.stringify([entry("1", 1, "application/json")]),
        status: 500,
        reply:
          /^\{"failedEntries":\[\{"entryId":"1","error":".*broker is away.*"\}\],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"\}$/,
      },
      {
        title: "unknown pub/sub before the body",
        line: "POST /v1.0/publish/bulk/nope/bulk",
        body: "{",
        status: 404,
        reply: /ERR_PUBSUB_NOT_FOUND/,
      },
    ],
  );
});

describe("publish over gRPC", () => {
  const data = new TextEncoder().encode('{"n":1}');
  const { method } = Dapr;

  test("publishes", async () => {
    await server.call(method.publishEvent, {
      pubsubName: "pubsub",
      topic: "orders",
      data,
      dataContentType: "application/json",
    });
    expect((await nextMessage()).envelope).toMatchObject({ data: { n: 1 }, source: "shop" });
  });

  test("takes data without a content type for text", async () => {
    await server.call(method.publishEvent, { pubsubName: "pubsub", topic: "orders", data });
    expect((await nextMessage()).envelope).toMatchObject({ data: '{"n":1}', datacontenttype: "text/plain" });
  });

  test.each([
    ["nope", "orders", Code.InvalidArgument, "pubsub nope is not found", "DAPR_PUBSUB_NOT_FOUND"],
    ["", "orders", Code.InvalidArgument, "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY"],
    ["pubsub", "", Code.InvalidArgument, "topic is empty in pubsub pubsub", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"],
    [
      "scoped",
      "secret",
      Code.PermissionDenied,
      "topic secret is not allowed for app id shop",
      "DAPR_PUBSUB_FORBIDDEN",
    ],
  ])("refuses %s/%s", async (pubsubName, topic, code, message, reason) => {
    const failure = await failureOf(server.call(method.publishEvent, { pubsubName, topic, data }));
    expect([failure.code, failure.message]).toEqual([code, message]);
    expect(detailsOf(failure)[0]?.fields[0]).toEqual([1, reason]);
  });

  test.each(["bulkPublishEvent", "bulkPublishEventAlpha1"] as const)(
    "%s answers OK with what failed",
    async (name) => {
      const request = {
        topic: "bulk",
        entries: [{ entryId: "1", event: data, contentType: "application/json" }],
      };
      const good = await server.call(method[name], { ...request, pubsubName: "pubsub" });
      expect(good.failedEntries).toEqual([]);
      await nextMessage();
      const bad = await server.call(method[name], { ...request, pubsubName: "broken" });
      expect(bad.failedEntries.map(({ entryId }) => entryId)).toEqual(["1"]);
    },
  );

  test("refuses entries without ids as a whole", async () => {
    const entries = [{ event: data }];
    const failure = await failureOf(
      server.call(method.bulkPublishEvent, { pubsubName: "pubsub", topic: "bulk", entries }),
    );
    expect(failure.code).toBe(Code.InvalidArgument);
  });
});
