import { describe, expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { realClock } from "../../edges/clock.ts";
import { SimulatedClock } from "../../edges/simulated.ts";
import { Code } from "../../errors.ts";
import { GrpcError } from "../../net/grpc/types.ts";
import { ListTopicSubscriptionsResponseSchema } from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { discoverSubscriptions } from "./discovery.ts";
import { grpcApp, httpApp, type StubAnswer, type StubApp } from "./fixture-app.ts";
import { recordedTelemetry } from "./fixture-parts.ts";

function ask(channel: StubApp, clock: SimulatedClock | typeof realClock = realClock) {
  const { log, lines } = recordedTelemetry();
  const signal = new AbortController().signal;
  return { lines, found: discoverSubscriptions({ channel, appId: "orders", clock, log, signal }) };
}

function answering(body: unknown, status = 200): StubApp {
  return httpApp(() => ({ status, body: typeof body === "string" ? body : JSON.stringify(body) }));
}

describe("discoverSubscriptions() of an HTTP app", () => {
  test("reads both forms of routes", async () => {
    const app = answering([
      {
        pubsubname: "bus",
        topic: "a",
        route: "/a",
        metadata: { rawPayload: "true", n: 1 },
        deadLetterTopic: "d",
      },
      {
        pubsubname: "bus",
        topic: "b",
        routes: { rules: [{ match: " event.type == 'x' ", path: "/x" }], default: "/b" },
        bulkSubscribe: { enabled: true, maxMessagesCount: 5, maxAwaitDurationMs: 10 },
      },
    ]);
    expect(await ask(app).found).toEqual([
      {
        pubsubName: "bus",
        topic: "a",
        metadata: { rawPayload: "true", n: "1" },
        rules: [{ match: "", path: "/a" }],
        deadLetterTopic: "d",
        bulk: undefined,
        type: "PROGRAMMATIC",
      },
      {
        pubsubName: "bus",
        topic: "b",
        metadata: {},
        rules: [
          { match: "event.type == 'x'", path: "/x" },
          { match: "", path: "/b" },
        ],
        deadLetterTopic: "",
        bulk: { maxMessagesCount: 5, maxAwaitDurationMs: 10 },
        type: "PROGRAMMATIC",
      },
    ]);
    expect(app.seen[0]).toMatchObject({ method: "GET", target: "/dapr/subscribe" });
  });

  test("drops an entry without route, with a warning", async () => {
    const { found, lines } = ask(answering([{ pubsubname: "bus", topic: "a" }]));
    expect(await found).toEqual([]);
    expect(lines).toContain("warn topic a has an empty routes. removing from subscriptions list");
  });

  test("404, null and an empty list mean none", async () => {
    for (const app of [answering("", 404), answering("null"), answering([])]) {
      const { found, lines } = ask(app);
      expect(await found).toEqual([]);
      expect(lines.filter((line) => line.startsWith("error"))).toEqual([]);
    }
  });

  test("nonsense and refusals mean none, with an error", async () => {
    for (const app of [answering("hello"), answering({}), answering([1]), answering("", 400)]) {
      const { found, lines } = ask(app);
      expect(await found).toEqual([]);
      expect(lines.at(-1)).toStartWith("error ");
    }
  });

  test("asks again after a failure, three times", async () => {
    const clock = new SimulatedClock();
    const answers: StubAnswer[] = [{ status: 503 }, { status: 500 }];
    const app = httpApp(() => {
      queueMicrotask(() => setTimeout(() => clock.advance(10_000)));
      return answers.shift() ?? { status: 200, body: '[{"pubsubname":"p","topic":"t","route":"r"}]' };
    });
    expect(await ask(app, clock).found).toHaveLength(1);
    const dead = httpApp(() => {
      queueMicrotask(() => setTimeout(() => clock.advance(10_000)));
      throw new Error("refused");
    });
    expect(await ask(dead, clock).found).toEqual([]);
    expect(dead.seen).toHaveLength(4);
  });
});

describe("discoverSubscriptions() of a gRPC app", () => {
  test("reads the list; no route is the empty path", async () => {
    const subscriptions = [
      { pubsubName: "bus", topic: "a" },
      {
        pubsubName: "bus",
        topic: "b",
        routes: { rules: [{ match: "true", path: "/x" }], default: "/d" },
        deadLetterTopic: "dead",
        bulkSubscribe: { enabled: true },
      },
    ];
    const reply = toBinary(
      ListTopicSubscriptionsResponseSchema,
      create(ListTopicSubscriptionsResponseSchema, { subscriptions }),
    );
    const found = await ask(grpcApp(() => reply)).found;
    expect(found[0]?.rules).toEqual([{ match: "", path: "" }]);
    expect(found[1]).toMatchObject({
      rules: [
        { match: "true", path: "/x" },
        { match: "", path: "/d" },
      ],
      deadLetterTopic: "dead",
      bulk: { maxMessagesCount: 100, maxAwaitDurationMs: 1000 },
    });
  });

  test("Unimplemented means none", async () => {
    const { found, lines } = ask(grpcApp(() => Promise.reject(new GrpcError(Code.Unimplemented, "no"))));
    expect(await found).toEqual([]);
    expect(lines).toEqual(["info pubsub subscriptions: gRPC app does not implement ListTopicSubscriptions"]);
  });
});
