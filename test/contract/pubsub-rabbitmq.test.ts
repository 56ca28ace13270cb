import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type Channel, type ChannelModel, connect, type GetMessage } from "amqplib";
import type { PubSub, SubscribeRequest } from "../../src/component/pubsub.ts";
import rabbitmq from "../../src/components/pubsub/rabbitmq.ts";
import { componentHost, eventually } from "./component-host.ts";
import { pubsubContract, subscription } from "./pubsub.ts";
import { startRabbitmq, type TestRabbitmq } from "./rabbitmq.ts";

let server: TestRabbitmq;
let model: ChannelModel;
let raw: Channel;
beforeAll(async () => {
  server = await startRabbitmq();
}, 120_000);
beforeEach(async () => {
  model = await connect(server.url);
  model.on("error", () => {});
  raw = await model.createChannel();
});
afterEach(() => model.close().catch(() => {}));
afterAll(() => server.stop(), 60_000);

const lasting = { deletedWhenUnused: "false", requeueInFailure: "true", reconnectWaitSeconds: "200ms" };
const open = (items: Record<string, string> = {}): Promise<PubSub> =>
  rabbitmq.open(server.options(rabbitmq, { ...lasting, ...items }), componentHost());

/** Topics and groups of the contract have the same names in every test: the queues begin anew. */
async function clear(): Promise<void> {
  for (const topic of ["topic", "one", "two"]) {
    for (const group of ["group", "a", "b", "open", "closed"]) await raw.deleteQueue(`${group}-${topic}`);
    await raw.deleteExchange(topic);
  }
}

for (const queueType of ["classic", "quorum"]) {
  const counting = queueType === "classic" ? { isUncounted: true as const } : {};
  pubsubContract(
    `pubsub.rabbitmq, ${queueType} queues`,
    // The broker drops what is too old by a timer of its own, which comes late when there is much to do.
    { features: ["MESSAGE_TTL"], isDurable: true, keepsOrder: false, expiresLateMs: 1_000, ...counting },
    async () => {
      await clear();
      const typed = async (): Promise<PubSub> => {
        const pubsub = await open();
        return {
          features: pubsub.features,
          publish: (message) => pubsub.publish(message),
          subscribe: (request, handler) =>
            pubsub.subscribe({ ...request, metadata: { queueType, ...request.metadata } }, handler),
          close: () => pubsub.close(),
        };
      };
      let pubsub = await typed();
      return {
        get pubsub() {
          return pubsub;
        },
        async reopen() {
          await pubsub.close();
          pubsub = await typed();
          return pubsub;
        },
        close: () => pubsub.close(),
      };
    },
  );
}

describe("pubsub.rabbitmq", () => {
  const message = { topic: "topic", data: Buffer.from("x"), contentType: "", metadata: {} };
  const withPubSub = async (items: Record<string, string>, run: (pubsub: PubSub) => Promise<void>) => {
    await clear();
    const pubsub = await open(items);
    try {
      await run(pubsub);
    } finally {
      await pubsub.close();
    }
  };
  const listen = async (pubsub: PubSub, request: Partial<SubscribeRequest> = {}) => {
    const seen: string[] = [];
    const { close } = await pubsub.subscribe(subscription(request), async ({ data }) => {
      seen.push(Buffer.from(data).toString());
    });
    return { seen, close };
  };

  test("has Dapr's layout: a fanout exchange for the topic, a queue for each group, persistent messages", () =>
    withPubSub({}, async (pubsub) => {
      const { close } = await listen(pubsub);
      await close();
      await pubsub.publish({ ...message, metadata: { priority: "7", messageId: "m1", color: "red" } });
      await raw.assertExchange("topic", "fanout", { durable: true, autoDelete: false });
      const got = (await raw.get("group-topic", { noAck: true })) as GetMessage;
      const headers = { color: "red" };
      expect(got.properties).toMatchObject({ deliveryMode: 2, priority: 7, messageId: "m1", headers });
      raw.publish("topic", "", Buffer.from("from elsewhere"));
      const { seen } = await listen(pubsub);
      await eventually("it is there", () => seen.includes("from elsewhere"));
    }));

  test("routes by keys", () =>
    withPubSub({ exchangeKind: "topic" }, async (pubsub) => {
      const red = await listen(pubsub, { consumerGroup: "a", metadata: { routingKey: "red.*, pink" } });
      const all = await listen(pubsub, { consumerGroup: "b", metadata: { routingKey: "#" } });
      for (const routingKey of ["red.dark", "blue", "pink"]) {
        await pubsub.publish({ ...message, data: Buffer.from(routingKey), metadata: { routingKey } });
      }
      await eventually("all are there", () => all.seen.length === 3);
      await eventually("its own are there", () => red.seen.length === 2);
      expect([...red.seen].sort()).toEqual(["pink", "red.dark"]);
    }));

  test("drops what the app did not take, or keeps it in the queue of dead letters", () =>
    withPubSub({ requeueInFailure: "false", enableDeadLetter: "true" }, async (pubsub) => {
      let tries = 0;
      await pubsub.subscribe(subscription(), async () => {
        tries++;
        throw new Error("no");
      });
      await pubsub.publish(message);
      let dead: GetMessage | false = false;
      await eventually("it is among the dead", async () => {
        dead = await raw.get("dlq-group-topic", { noAck: true });
        return dead !== false;
      });
      expect([tries, String((dead as unknown as GetMessage).content)]).toEqual([1, "x"]);
      await raw.deleteQueue("dlq-group-topic");
    }));

  test("counts tries where the queue does", () =>
    withPubSub({}, async (pubsub) => {
      const attempts: (number | undefined)[] = [];
      await pubsub.subscribe(subscription({ metadata: { queueType: "quorum" } }), async ({ attempt }) => {
        attempts.push(attempt);
        if (attempts.length < 3) throw new Error("again");
      });
      await pubsub.publish(message);
      await eventually("three tries", () => attempts.length === 3);
      expect(attempts).toEqual([1, 2, 3]);
    }));

  test("takes messages by priority", () =>
    withPubSub({}, async (pubsub) => {
      const metadata = { maxPriority: "9" };
      await (await listen(pubsub, { metadata })).close();
      for (const priority of ["1", "9", "5"]) {
        await pubsub.publish({ ...message, data: Buffer.from(priority), metadata: { priority } });
      }
      const { seen } = await listen(pubsub, { metadata, concurrencyMax: 1 });
      await eventually("all are there", () => seen.length === 3);
      expect(seen).toEqual(["9", "5", "1"]);
    }));

  test("refuses what it can not do, and says why", () =>
    withPubSub({}, async (pubsub) => {
      const bad = await pubsub
        .subscribe(subscription({ metadata: { queueType: "stream" } }), async () => {})
        .catch((e) => e);
      expect(bad.message).toContain('queueType is "stream", expected classic or quorum');
      await raw.assertQueue("group-topic", { durable: false });
      const other = await pubsub.subscribe(subscription(), async () => {}).catch((e) => e);
      expect(other.message).toContain("PRECONDITION_FAILED");
      expect(other.message).toContain("was declared otherwise");
      const priority = await pubsub
        .publish({ ...message, metadata: { priority: "high" } })
        .catch((e: Error) => e.message);
      expect(priority).toBe('priority is "high", not a whole number');
    }));

  test("says why it can not connect", async () => {
    const refused = await open({ connectionString: "amqp://127.0.0.1:1", timeout: "500ms" }).catch((e) => e);
    expect(refused.message).toContain("error connecting to rabbitmq at 127.0.0.1:1: connect ECONNREFUSED");
    const wrong = server.url.replace("guest:guest", "guest:wrong");
    const denied = await open({ connectionString: wrong, timeout: "1s" }).catch((e) => e);
    expect(denied.message).toContain("ACCESS_REFUSED");
    const text = await open({ connectionString: "http://x" }).catch((e) => e);
    expect(text.message).toBe("connectionString begins with http://, not with amqp:// or amqps://");
  });
});
