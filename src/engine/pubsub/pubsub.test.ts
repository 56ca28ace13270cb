import { afterEach, describe, expect, test } from "bun:test";
import { simulatedEdges } from "../../edges/simulated.ts";
import type { SubscriptionResource } from "../../resource/resource.ts";
import type { TopicEventRequest } from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import type { PubSubEngine } from "./engine.ts";
import { httpApp, type StubAnswer } from "./fixture-app.ts";
import { eventually, recordedTelemetry, StubBroker, stubComponents } from "./fixture-parts.ts";
import { createPubSub, type PubSubOptions } from "./pubsub.ts";
import { StreamEnded } from "./stream-ended.ts";

const engines: PubSubEngine[] = [];
afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
});

function declared(
  name: string,
  topic: string,
  parts: Partial<SubscriptionResource["spec"]> = {},
): SubscriptionResource {
  const source = { file: "f", line: 1, column: 1 };
  const spec = {
    ...{ pubsubname: "bus", topic, rules: [], defaultPath: `/${name}`, metadata: {}, deadLetterTopic: "" },
    bulkSubscribe: undefined,
    ...parts,
  };
  return {
    ...{
      apiVersion: "dapr.io/v2alpha1",
      kind: "Subscription",
      name,
      namespace: "default",
      scopes: [] as string[],
    },
    spec,
    source,
    at: () => source,
  };
}

function engineWith(
  options: {
    own?: object[];
    resources?: SubscriptionResource[];
    answer?: () => Promise<StubAnswer>;
  } & Partial<PubSubOptions> = {},
) {
  const { own = [], resources = [], answer = async () => ({ status: 200 }), ...rest } = options;
  const broker = new StubBroker();
  const components = stubComponents();
  components.set("bus", broker);
  const telemetry = recordedTelemetry();
  const edges = simulatedEdges(1);
  const channel = httpApp(({ target }) =>
    target === "/dapr/subscribe" ? { status: 200, body: JSON.stringify(own) } : answer(),
  );
  const principal = { namespace: "shop", appId: "orders" };
  const declarative = () => resources;
  const engine = createPubSub({ principal, components, telemetry, edges, channel, declarative, ...rest });
  engines.push(engine);
  const topics = () => broker.open.map(({ request }) => request.topic);
  return { engine, broker, components, channel, telemetry, edges, resources, topics };
}

const event = Buffer.from('{"id":"e1","type":"t","data":1}');

describe("start()", () => {
  test("opens what is declared and what the app asks for", async () => {
    const own = [
      { pubsubname: "bus", topic: "b", route: "/own" },
      { pubsubname: "bus", topic: "c", route: "/c" },
    ];
    const { engine, topics, telemetry, broker } = engineWith({
      own,
      resources: [declared("one", "a"), declared("two", "b")],
    });
    await engine.start();
    expect(topics().sort()).toEqual(["a", "b", "c"]);
    expect(engine.subscriptions()).toEqual([
      {
        pubsubName: "bus",
        topic: "a",
        metadata: {},
        rules: [{ match: "", path: "/one" }],
        deadLetterTopic: "",
        type: "DECLARATIVE",
      },
      {
        pubsubName: "bus",
        topic: "b",
        metadata: {},
        rules: [{ match: "", path: "/own" }],
        deadLetterTopic: "",
        type: "PROGRAMMATIC",
      },
      {
        pubsubName: "bus",
        topic: "c",
        metadata: {},
        rules: [{ match: "", path: "/c" }],
        deadLetterTopic: "",
        type: "PROGRAMMATIC",
      },
    ]);
    expect(telemetry.lines).toContain(
      "info app is subscribed to the following topics: [a b c] through pubsub=bus",
    );
    expect(broker.open[0]?.request).toMatchObject({ consumerGroup: "orders", concurrencyMax: 64 });
  });

  test("does not ask when discovery is off, nor without a pub/sub component", async () => {
    const quiet = engineWith({ discovers: false, resources: [declared("one", "a")] });
    await quiet.engine.start();
    expect(quiet.channel.seen).toEqual([]);
    expect(quiet.topics()).toEqual(["a"]);
    const bare = engineWith({ own: [{ pubsubname: "bus", topic: "b", route: "/b" }] });
    bare.components.remove("bus");
    await bare.engine.start();
    expect(bare.channel.seen).toEqual([]);
    bare.components.set("bus", bare.broker);
    await eventually(() => bare.topics().length === 1);
  });

  test("leaves out what other apps are meant to see and what scopes forbid", async () => {
    const foreign = { ...declared("one", "a"), scopes: ["other"] };
    const mine = { ...declared("two", "b"), scopes: ["orders"] };
    const { engine, topics, components, broker, telemetry } = engineWith({
      resources: [foreign, mine, declared("three", "c")],
    });
    components.set("bus", broker, { subscriptionscopes: "orders=b" });
    await engine.start();
    expect(topics()).toEqual(["b"]);
    expect(telemetry.lines).toContain(
      "error failed to subscribe to topic c in pubsub bus: subscription to topic 'c' on pubsub 'bus' is not allowed",
    );
  });

  test("leaves out a subscription whose rule does not compile, and goes on", async () => {
    const rules = [{ match: "event.type ==", path: "/x" }];
    const { engine, topics, telemetry } = engineWith({
      resources: [declared("one", "a", { rules }), declared("two", "b")],
    });
    await engine.start();
    expect(topics()).toEqual(["b"]);
    expect(telemetry.lines.find((line) => line.startsWith("error"))).toContain("match expression");
  });

  test("tries again when the broker refuses", async () => {
    const { engine, broker, topics, edges } = engineWith({ resources: [declared("one", "a")] });
    broker.subscribeFailure = new Error("not yet");
    await engine.start();
    broker.subscribeFailure = undefined;
    edges.clock.advance(500);
    await eventually(() => topics().length === 1);
  });

  test("waits until the app is healthy", async () => {
    const { engine, channel, topics } = engineWith({ own: [{ pubsubname: "bus", topic: "b", route: "/b" }] });
    channel.setHealth(false);
    await engine.start();
    expect(channel.seen).toEqual([]);
    channel.setHealth(true);
    await eventually(() => topics().length === 1);
    channel.setHealth(false);
    await eventually(() => topics().length === 0);
    channel.setHealth(true);
    await eventually(() => topics().length === 1);
    expect(channel.seen).toHaveLength(1);
  });

  test("without an app opens nothing", async () => {
    const { engine, topics } = engineWith({ channel: undefined, resources: [declared("one", "a")] });
    await engine.start();
    expect(topics()).toEqual([]);
  });
});

describe("the life of subscriptions", () => {
  test("pause() waits for what is in flight; resume() opens again", async () => {
    const gate = Promise.withResolvers<StubAnswer>();
    const { engine, broker, topics } = engineWith({
      resources: [declared("one", "a")],
      answer: () => gate.promise,
    });
    await engine.start();
    const delivery = broker.deliver({ topic: "a", data: event });
    const order: string[] = [];
    const paused = engine.pause().then(() => order.push("paused"));
    await eventually(() => topics().length === 0);
    gate.resolve({ status: 200 });
    await delivery.then(() => order.push("delivered"));
    await paused;
    expect(order).toEqual(["delivered", "paused"]);
    await engine.resume();
    expect(topics()).toEqual(["a"]);
  });

  test("reload() touches only what changed", async () => {
    const { engine, broker, resources, topics } = engineWith({
      resources: [declared("one", "a"), declared("two", "b"), declared("three", "c")],
    });
    await engine.start();
    const kept = broker.open.find(({ request }) => request.topic === "b");
    resources.splice(
      0,
      3,
      declared("one", "a", { defaultPath: "/new" }),
      declared("two", "b"),
      declared("four", "d"),
    );
    await engine.reload();
    expect(topics().sort()).toEqual(["a", "b", "d"]);
    expect(kept?.isClosed).toBe(false);
    expect(broker.subscriptions).toHaveLength(5);
    expect(engine.subscriptions().map(({ topic }) => topic)).toEqual(["b", "a", "d"]);
  });

  test("a replaced component is subscribed to anew, one that comes back as well", async () => {
    const { engine, components, broker, topics } = engineWith({ resources: [declared("one", "a")] });
    await engine.start();
    const next = new StubBroker();
    components.set("bus", next);
    await eventually(() => next.open.length === 1);
    expect(topics()).toEqual([]);
    components.remove("bus");
    await eventually(() => next.open.length === 0);
    components.set("bus", broker);
    await eventually(() => topics().length === 1);
  });

  test("close() ends everything", async () => {
    const { engine, broker, topics } = engineWith({ resources: [declared("one", "a")] });
    await engine.start();
    const stream = await engine.openStream({
      pubsubName: "bus",
      topic: "s",
      metadata: {},
      deadLetterTopic: "",
      deliver: async () => 0,
    });
    await engine.close();
    expect(topics()).toEqual([]);
    await engine.resume();
    await engine.start();
    await stream.close();
    expect(broker.open).toEqual([]);
  });
});

describe("openStream()", () => {
  const request = { pubsubName: "bus", topic: "s", metadata: {}, deadLetterTopic: "" };

  test("delivers events and takes the answered status", async () => {
    const { engine, broker } = engineWith({ channel: undefined });
    const events: TopicEventRequest[] = [];
    const statuses = [0, 1];
    const deliver = async (sent: TopicEventRequest) => {
      events.push(sent);
      return statuses.shift() ?? 2;
    };
    const stream = await engine.openStream({ ...request, deliver });
    await broker.deliver({ topic: "s", data: event });
    await expect(broker.deliver({ topic: "s", data: event })).rejects.toThrow("RETRY status");
    await broker.deliver({ topic: "s", data: event });
    expect(events[0]).toMatchObject({ id: "e1", topic: "s", pubsubName: "bus", path: "/" });
    expect(engine.subscriptions()).toMatchObject([
      { topic: "s", type: "STREAMING", rules: [{ match: "", path: "/" }] },
    ]);
    await stream.close();
    expect(engine.subscriptions()).toEqual([]);
    expect(broker.open).toEqual([]);
  });

  test("is listed when the broker has it, not before", async () => {
    const { engine, broker } = engineWith({ channel: undefined });
    const answered = Promise.withResolvers<void>();
    const subscribe = broker.subscribe.bind(broker);
    let isAsked = false;
    broker.subscribe = async (...words) => {
      isAsked = true;
      await answered.promise;
      return subscribe(...words);
    };
    const opening = engine.openStream({ ...request, deliver: async () => 0 });
    await eventually(() => isAsked);
    const before = engine.subscriptions();
    answered.resolve();
    await opening;
    expect(before).toEqual([]);
    expect(engine.subscriptions()).toMatchObject([{ topic: "s", type: "STREAMING" }]);
  });

  test("is a subscription of its own beside the app's", async () => {
    const { engine, topics } = engineWith({ resources: [declared("one", "s")] });
    await engine.start();
    const stream = await engine.openStream({ ...request, deliver: async () => 0 });
    expect(topics()).toEqual(["s", "s"]);
    await stream.close();
    expect(topics()).toEqual(["s"]);
  });

  test("gives unanswered events back at once when the client leaves, never to the dead letters", async () => {
    const { engine, broker } = engineWith({ channel: undefined });
    const deliver = (_event: TopicEventRequest, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(new Error("gone"))),
      );
    const stream = await engine.openStream({ ...request, deadLetterTopic: "dead", deliver });
    // Bun's `rejects` blocks until the promise settles: it must not see one that is still open.
    const outcome = broker.deliver({ topic: "s", data: event }).catch((error) => error as Error);
    await stream.close();
    expect(await outcome).toBeInstanceOf(StreamEnded);
    expect(broker.published).toEqual([]);
  });

  test("takes silence for a failure, after a time", async () => {
    const { engine, broker, edges } = engineWith({ channel: undefined, limits: { deliveryTimeoutMs: 1000 } });
    const deliver = (_event: TopicEventRequest, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(new Error("late"))),
      );
    await engine.openStream({ ...request, deadLetterTopic: "dead", deliver });
    const delivery = broker.deliver({ topic: "s", data: event });
    edges.clock.advance(1000);
    await delivery;
    expect(broker.published.map(({ topic }) => topic)).toEqual(["dead"]);
  });

  test("refuses what cannot be subscribed to", async () => {
    const { engine, components, broker } = engineWith();
    const deliver = async () => 0 as const;
    await expect(engine.openStream({ ...request, pubsubName: "", deliver })).rejects.toThrow(
      "pubsub name is empty",
    );
    await expect(engine.openStream({ ...request, topic: "", deliver })).rejects.toThrow("topic is empty");
    await expect(engine.openStream({ ...request, pubsubName: "no", deliver })).rejects.toThrow(
      "pubsub no is not found",
    );
    components.set("bus", broker, { allowedtopics: "x" });
    await expect(engine.openStream({ ...request, deliver })).rejects.toThrow("topic s is not allowed");
    expect(engine.subscriptions()).toEqual([]);
  });

  test("survives pause, resume and a replaced component", async () => {
    const { engine, components, topics } = engineWith({ channel: undefined });
    await engine.openStream({ ...request, deliver: async () => 0 });
    await engine.pause();
    expect(topics()).toEqual([]);
    await engine.resume();
    expect(topics()).toEqual(["s"]);
    const next = new StubBroker();
    components.set("bus", next);
    await eventually(() => next.open.length === 1);
  });
});
