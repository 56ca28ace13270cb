import { describe, expect, test } from "bun:test";
import { Redelivery } from "./delivery.ts";
import { sealEnvelope } from "./envelope.ts";
import { httpApp, type SeenRequest, type StubAnswer } from "./fixture-app.ts";
import { jsonOf, StubBroker, stubComponents, stubContext, subscriptionTo } from "./fixture-parts.ts";
import { HttpTarget } from "./http-target.ts";
import { Subscriber } from "./subscriber.ts";
import type { Subscription } from "./subscription.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

function envelope(parts: { metadata?: Record<string, string>; expiresAtMs?: number } = {}): Uint8Array {
  return sealEnvelope({
    data: Buffer.from('{"n":1}'),
    contentType: "application/json",
    topic: "t",
    pubsubName: "bus",
    source: "shop",
    newId: () => "e1",
    nowMs: 0,
    trace: {
      traceId: traceparent.slice(3, 35),
      spanId: traceparent.slice(36, 52),
      sampled: false,
      traceState: "",
    },
    baggage: undefined,
    expiresAtMs: parts.expiresAtMs,
    metadata: parts.metadata ?? {},
  });
}

async function subscribed(
  answer: StubAnswer | ((request: SeenRequest) => StubAnswer | Promise<StubAnswer>),
  subscription: Partial<Subscription> = {},
  properties: Record<string, string> = {},
) {
  const broker = new StubBroker();
  const components = stubComponents();
  components.set("bus", broker, properties);
  const context = stubContext(components);
  const app = httpApp(typeof answer === "function" ? answer : () => answer);
  const target = new HttpTarget(app, 1000, () => "bulk");
  const subscriber = new Subscriber(context, subscriptionTo("t", subscription), target);
  await subscriber.open();
  const count = (status: string, outcome = status) => {
    const labels = `app_id="orders",component="bus",namespace="shop",process_status="${status}",status="${outcome}",topic="t"`;
    const line = context.telemetry.metrics.text().match(`component_pubsub_ingress_count{${labels}} (\\d+)`);
    return Number(line?.[1] ?? 0);
  };
  return { broker, context, app, subscriber, count };
}

const malformed = { topic: "t", data: Buffer.from("no event") };

describe("a delivery", () => {
  test("hands the envelope over unchanged, in a span that continues its trace", async () => {
    const { broker, app, count } = await subscribed({ status: 200 });
    const data = envelope();
    await broker.deliver({ topic: "t", data, metadata: { key: "v" } });
    expect(app.seen[0]?.body).toBe(data);
    expect(app.seen[0]?.target).toBe("/inbox");
    expect(app.seen[0]?.trace?.traceId).toBe(traceparent.slice(3, 35));
    expect(count("success")).toBe(1);
  });

  test("is acknowledged on success and given back on retry", async () => {
    const { broker, count } = await subscribed(({ headers }) => ({
      status: headers.includes("bad") ? 500 : 200,
    }));
    await broker.deliver({ topic: "t", data: envelope() });
    await expect(broker.deliver({ topic: "t", data: envelope(), metadata: { bad: "1" } })).rejects.toThrow(
      Redelivery,
    );
    expect(count("retry")).toBe(1);
  });

  test("is acknowledged on drop, which counts as the app's own decision", async () => {
    const { broker, count } = await subscribed({ status: 200, body: '{"status":"DROP"}' });
    await broker.deliver({ topic: "t", data: envelope() });
    expect(count("drop", "success")).toBe(1);
  });

  test("of bytes that are no event is given back", async () => {
    const { broker, app } = await subscribed({ status: 200 });
    await expect(broker.deliver(malformed)).rejects.toThrow("error deserializing cloud event");
    const forged = {
      topic: "t",
      data: Buffer.from('{"traceparent":"","tracestate":"",'),
      metadata: { rawPayload: "true" },
    };
    await expect(broker.deliver(forged)).rejects.toThrow("error deserializing cloud event");
    expect(app.seen).toEqual([]);
  });

  test("of foreign events is checked, not changed", async () => {
    const { broker, app } = await subscribed({ status: 200 });
    const data = Buffer.from(' {"id":"x", "traceid": 5, "data":1.0}');
    await broker.deliver({ topic: "t", data, contentType: "" });
    expect(app.seen[0]?.body).toBe(data);
  });

  test("drops what has expired", async () => {
    const { broker, app, count, context } = await subscribed({ status: 200 });
    const nowMs = context.edges.clock.now();
    await broker.deliver({ topic: "t", data: envelope({ expiresAtMs: nowMs - 5000 }) });
    await broker.deliver({ topic: "t", data: envelope(), expired: true });
    expect(app.seen).toEqual([]);
    expect(count("drop")).toBe(2);
    await broker.deliver({ topic: "t", data: envelope({ expiresAtMs: nowMs + 5000 }) });
    expect(app.seen).toHaveLength(1);
  });

  test("drops what no route wants or no rule can decide", async () => {
    const rules = [{ match: "event.data.n == 2", path: "/two" }];
    const { broker, app, count } = await subscribed({ status: 200 }, { rules });
    await broker.deliver({ topic: "t", data: envelope() });
    expect(count("drop", "success")).toBe(1);
    await broker.deliver({ topic: "t", data: Buffer.from('{"id":"x"}') });
    expect(count("drop")).toBe(1);
    await broker.deliver({ topic: "t", data: Buffer.from('{"id":"x","data":{"n":2}}') });
    expect(app.seen.map(({ target }) => target)).toEqual(["/two"]);
  });

  test("wraps raw payloads for a raw subscription", async () => {
    const { broker, app } = await subscribed({ status: 200 }, { metadata: { rawPayload: "true" } });
    await broker.deliver({
      topic: "t",
      data: Buffer.from([1, 2, 255]),
      contentType: "x/y",
      metadata: { traceparent },
    });
    expect(jsonOf(app.seen[0]?.body as Uint8Array)).toMatchObject({
      data_base64: "AQL/",
      source: "Dapr",
      topic: "t",
      traceparent,
    });
    expect(app.seen[0]?.trace?.traceId).toBe(traceparent.slice(3, 35));
  });

  test("goes back instead of to the dead letters when the subscription is closing", async () => {
    const { broker, subscriber, context } = await subscribed(() => new Promise<StubAnswer>(() => {}), {
      deadLetterTopic: "dead",
    });
    const delivery = broker.deliver({ topic: "t", data: envelope() });
    const outcome = delivery.then(
      () => "acknowledged",
      (error) => error as Error,
    );
    const closed = subscriber.close();
    await Promise.resolve();
    context.edges.clock.advance(5_000);
    expect(await outcome).toBeInstanceOf(Redelivery);
    await closed;
    expect(broker.published).toEqual([]);
  });

  test("in flight is waited for on closing", async () => {
    const gate = Promise.withResolvers<StubAnswer>();
    const { broker, subscriber } = await subscribed(() => gate.promise);
    const delivery = broker.deliver({ topic: "t", data: envelope() });
    const closed = subscriber.close();
    gate.resolve({ status: 200 });
    await delivery;
    await closed;
  });
});

describe("the dead letter topic", () => {
  const deadLetterTopic = "dead";
  const failures: [string, StubAnswer, Partial<Parameters<StubBroker["deliver"]>[0]>][] = [
    ["a first failure", { status: 500 }, {}],
    ["DROP", { status: 200, body: '{"status":"DROP"}' }, {}],
    ["404", { status: 404 }, {}],
    ["expiry", { status: 200 }, { expired: true }],
    ["no event", { status: 200 }, { data: malformed.data }],
  ];
  test.each(failures)("gets the original bytes after %s", async (_what, answer, message) => {
    const { broker } = await subscribed(answer, { deadLetterTopic });
    const data = envelope();
    await broker.deliver({ topic: "t", data, metadata: { key: "v", ttlInSeconds: "1" }, ...message });
    expect(broker.published).toEqual([
      {
        topic: "dead",
        data: message.data ?? data,
        contentType: "application/cloudevents+json",
        metadata: { key: "v", "mecha-dead-letter-of": "t" },
      },
    ]);
  });

  test("gets what no route wants", async () => {
    const rules = [{ match: "event.data.n == 2", path: "/two" }];
    const { broker } = await subscribed({ status: 200 }, { deadLetterTopic, rules });
    await broker.deliver({ topic: "t", data: envelope() });
    expect(broker.published).toHaveLength(1);
  });

  test("failing gives the message back", async () => {
    const { broker } = await subscribed({ status: 500 }, { deadLetterTopic });
    broker.failure = new Error("full");
    await expect(broker.deliver({ topic: "t", data: envelope() })).rejects.toThrow(
      "error sending message to dead letter, origin topic: t dead letter topic dead err: full",
    );
  });

  test("that the app may not publish to gives the message back", async () => {
    const { broker } = await subscribed(
      { status: 500 },
      { deadLetterTopic },
      { publishingscopes: "orders=t" },
    );
    await expect(broker.deliver({ topic: "t", data: envelope() })).rejects.toThrow("is not allowed");
  });

  test("is read although its events have expired", async () => {
    const { broker, app } = await subscribed({ status: 200 });
    await broker.deliver({
      topic: "t",
      data: envelope({ expiresAtMs: 0 }),
      metadata: { "mecha-dead-letter-of": "x" },
    });
    expect(app.seen).toHaveLength(1);
  });
});

describe("the inbound policy", () => {
  test("decides how often a delivery is tried", async () => {
    let failuresLeft = 2;
    const { broker, context, count } = await subscribed(() => ({ status: failuresLeft-- > 0 ? 503 : 200 }), {
      deadLetterTopic: "dead",
    });
    const components: string[] = [];
    context.inbound = async ({ pubsubName }, attempt, signal) => {
      components.push(pubsubName);
      for (;;) {
        const outcome = await attempt(signal);
        if (outcome.kind !== "retry") return outcome;
        expect(outcome.code).toBe(503);
      }
    };
    await broker.deliver({ topic: "t", data: envelope() });
    expect(components).toEqual(["bus"]);
    expect([count("retry"), count("success"), broker.published.length]).toEqual([2, 1, 0]);
  });

  test("that gives up without an outcome leaves a failure: to the dead letters, or back", async () => {
    const { broker, context } = await subscribed({ status: 200 }, { deadLetterTopic: "dead" });
    context.inbound = () => Promise.reject(new Error("circuit breaker is open"));
    await broker.deliver({ topic: "t", data: envelope() });
    expect(broker.published).toHaveLength(1);
    const other = await subscribed({ status: 200 });
    other.context.inbound = context.inbound;
    await expect(other.broker.deliver({ topic: "t", data: envelope() })).rejects.toThrow(
      "circuit breaker is open",
    );
  });
});
