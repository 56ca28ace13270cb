import { afterEach, describe, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ListTopicSubscriptionsResponseSchema,
  type TopicEventRequest,
  TopicEventRequestSchema,
  TopicEventResponseSchema,
} from "../../src/wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { type App, eventually, type GrpcHandlers, Machine } from "./pubsub-fixture.ts";

let machine = new Machine();
afterEach(async () => {
  await machine.close();
  machine = new Machine();
});

const callback = "/dapr.proto.runtime.v1.AppCallback";
type Listed = { pubsubName: string; topic: string; deadLetterTopic?: string; routes?: object };

function handlers(
  subscriptions: Listed[],
  onEvent?: (event: TopicEventRequest) => number | Promise<number>,
): GrpcHandlers {
  const list = toBinary(
    ListTopicSubscriptionsResponseSchema,
    create(ListTopicSubscriptionsResponseSchema, { subscriptions }),
  );
  const known: GrpcHandlers = { [`${callback}/ListTopicSubscriptions`]: () => Buffer.from(list) };
  if (onEvent === undefined) return known;
  known[`${callback}/OnTopicEvent`] = async (request) => {
    const status = await onEvent(fromBinary(TopicEventRequestSchema, request));
    return Buffer.from(toBinary(TopicEventResponseSchema, create(TopicEventResponseSchema, { status })));
  };
  return known;
}

const textOf = (event: TopicEventRequest): string => Buffer.from(event.data).toString();

describe("a gRPC app", () => {
  test("gets events with their path, and dead letters of what it drops", async () => {
    const events: TopicEventRequest[] = [];
    const listed = [
      {
        ...{ pubsubName: "pubsub", topic: "t", deadLetterTopic: "dead" },
        routes: { rules: [{ match: "event.data == 1.0", path: "/one" }], default: "/rest" },
      },
      { pubsubName: "pubsub", topic: "dead" },
    ];
    const app = await machine.app({
      appId: "orders",
      grpc: handlers(listed, (event) => {
        events.push(event);
        return textOf(event) === "2" && event.topic === "t" ? 2 : 0;
      }),
    });
    await app.publish("t", 1);
    await app.publish("t", 2);
    await eventually(() => events.length === 3);
    const shown = events.map(({ topic, path, pubsubName, source, ...event }) => ({
      topic,
      path,
      pubsubName,
      source,
      data: Buffer.from(event.data).toString(),
    }));
    const common = { pubsubName: "pubsub", source: "orders" };
    expect(shown).toContainEqual({ ...common, topic: "t", path: "/one", data: "1" });
    expect(shown).toContainEqual({ ...common, topic: "t", path: "/rest", data: "2" });
    expect(shown).toContainEqual({ ...common, topic: "dead", path: "", data: "2" });
  });

  test("gets what it failed at again", async () => {
    let calls = 0;
    const app = await machine.app({
      appId: "orders",
      grpc: handlers([{ pubsubName: "pubsub", topic: "t" }], () => {
        if (++calls === 1) throw new Error("not now");
        return calls === 2 ? 1 : 0;
      }),
    });
    await app.publish("t", "x");
    await eventually(() => calls === 3);
  });

  test("without OnTopicEvent drops", async () => {
    const app = await machine.app({
      appId: "orders",
      grpc: handlers([{ pubsubName: "pubsub", topic: "t" }]),
    });
    await app.publish("t", "x");
    await eventually(() => app.lines.some((line) => line.includes("non-retriable error returned from app")));
    expect(app.metrics()).toContain('process_status="drop"');
  });

  test("without ListTopicSubscriptions wants nothing", async () => {
    const app = await machine.app({ appId: "orders", grpc: { "/x.Y/Z": (request) => request } });
    expect(app.engine.subscriptions()).toEqual([]);
    expect(app.lines.some((line) => line.includes("does not implement ListTopicSubscriptions"))).toBe(true);
  });
});

describe("a stream", () => {
  const open = (app: App, deliver: (event: TopicEventRequest, signal: AbortSignal) => Promise<number>) =>
    app.engine.openStream({ pubsubName: "pubsub", topic: "t", metadata: {}, deadLetterTopic: "", deliver });

  test("gets events and redeliveries of a durable topic", async () => {
    const app = await machine.app({ appId: "orders" });
    const seen: string[] = [];
    const stream = await open(app, async (event) => {
      seen.push(textOf(event));
      return seen.length === 1 ? 1 : 0;
    });
    await app.publish("t", "x");
    await eventually(() => seen.length === 2);
    expect(seen).toEqual(['"x"', '"x"']);
    await stream.close();
  });

  test("competes with other streams of its app, and its unanswered events pass to them", async () => {
    const app = await machine.app({ appId: "orders" });
    const silent: string[] = [];
    const first = await open(app, (event, signal) => {
      silent.push(textOf(event));
      return new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(new Error("gone"))),
      );
    });
    await app.publish("t", "x");
    await eventually(() => silent.length === 1);
    const seen: string[] = [];
    await open(app, async (event) => {
      seen.push(textOf(event));
      return 0;
    });
    await first.close();
    await eventually(() => seen.length === 1);
    expect(seen).toEqual(silent);
  });

  test("with a consumerID of its own gets a copy", async () => {
    const app = await machine.app({ appId: "orders" });
    const seen: string[] = [];
    for (const consumerID of ["a", "b"]) {
      await app.engine.openStream({
        ...{ pubsubName: "pubsub", topic: "t", metadata: { consumerID }, deadLetterTopic: "" },
        deliver: async (event) => {
          seen.push(`${consumerID} ${textOf(event)}`);
          return 0;
        },
      });
    }
    await app.publish("t", 1);
    await eventually(() => seen.length === 2);
    expect(seen.sort()).toEqual(["a 1", "b 1"]);
  });
});
