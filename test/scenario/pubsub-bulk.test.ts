import { afterEach, expect, test } from "bun:test";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ListTopicSubscriptionsResponseSchema,
  TopicEventBulkRequestSchema,
  TopicEventBulkResponseSchema,
} from "../../src/wire/dapr/proto/runtime/v1/appcallback_pb.js";
import {
  componentResource,
  eventually,
  type HttpAnswer,
  Machine,
  subscriptionResource,
} from "./pubsub-fixture.ts";

let machine = new Machine();
afterEach(async () => {
  await machine.close();
  machine = new Machine();
});

interface BulkBody {
  entries: { entryId: string; event: { data: number } }[];
}

const callback = "/dapr.proto.runtime.v1.AppCallback";
const bulkSubscribe = { enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 50 };

test.each(["pubsub.in-memory", "pubsub.mecha"])(
  "%s hands batches to an HTTP app and settles each entry",
  async (type) => {
    const failed = new Set<number>();
    const sizes: number[] = [];
    const answer = (body: unknown): HttpAnswer => {
      const { entries } = body as BulkBody;
      sizes.push(entries.length);
      const statuses = entries.map(({ entryId, event }) => {
        const fails = event.data % 5 === 0 && !failed.has(event.data);
        if (fails) failed.add(event.data);
        return { entryId, status: fails ? "RETRY" : "SUCCESS" };
      });
      return { status: 200, body: JSON.stringify({ statuses }) };
    };
    const app = await machine.app({
      appId: "orders",
      components: [componentResource("pubsub", type)],
      declared: [
        subscriptionResource("bulk", "t", { bulkSubscribe, deadLetterTopic: "dead" }),
        subscriptionResource("dead", "dead"),
      ],
      http: ({ target, event }) => (target === "/bulk" ? answer(event) : { status: 200 }),
    });
    await Promise.all(Array.from({ length: 25 }, (_, n) => app.publish("t", n)));
    await eventually(() => sizes.reduce((sum, size) => sum + size, 0) === 25);
    const largest = Math.max(...sizes);
    expect(largest).toBeGreaterThan(1);
    expect(largest).toBeLessThanOrEqual(10);
    await eventually(() => app.received.filter(({ target }) => target === "/dead").length === 5);
    const dead = app.received
      .filter(({ target }) => target === "/dead")
      .map(({ event }) => event.data as number);
    expect(dead.sort((a, b) => a - b)).toEqual([0, 5, 10, 15, 20]);
  },
);

test("an entry that failed comes again in a later batch of a durable topic", async () => {
  let hasFailed = false;
  const seen: number[] = [];
  const app = await machine.app({
    appId: "orders",
    declared: [subscriptionResource("bulk", "t", { bulkSubscribe })],
    http: ({ event }) => {
      const { entries } = event as unknown as BulkBody;
      seen.push(...entries.map(({ event: { data } }) => data));
      const statuses = entries
        .filter(({ event: { data } }) => data !== 1 || hasFailed)
        .map(({ entryId }) => ({ entryId, status: "SUCCESS" }));
      hasFailed ||= entries.some(({ event: { data } }) => data === 1);
      return { status: 200, body: JSON.stringify({ statuses }) };
    },
  });
  await Promise.all([0, 1, 2].map((n) => app.publish("t", n)));
  await eventually(() => seen.length === 4);
  expect(seen.sort()).toEqual([0, 1, 1, 2]);
});

test("a gRPC app that knows only the alpha method gets batches too", async () => {
  const alpha = "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1";
  const seen: number[] = [];
  const app = await machine.app({
    appId: "orders",
    grpc: {
      [`${callback}/ListTopicSubscriptions`]: () => {
        const subscriptions = [{ pubsubName: "pubsub", topic: "t", bulkSubscribe }];
        const list = create(ListTopicSubscriptionsResponseSchema, { subscriptions });
        return Buffer.from(toBinary(ListTopicSubscriptionsResponseSchema, list));
      },
      [alpha]: (request) => {
        const { entries } = fromBinary(TopicEventBulkRequestSchema, request);
        const statuses = entries.map(({ entryId }) => ({ entryId, status: 0 }));
        for (const { event } of entries) {
          if (event.case === "cloudEvent")
            seen.push(JSON.parse(Buffer.from(event.value.data).toString()) as number);
        }
        return Buffer.from(
          toBinary(TopicEventBulkResponseSchema, create(TopicEventBulkResponseSchema, { statuses })),
        );
      },
    },
  });
  await Promise.all([0, 1, 2, 3].map((n) => app.publish("t", n)));
  await eventually(() => seen.length === 4);
  expect(seen.sort()).toEqual([0, 1, 2, 3]);
});
