import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { PubSub } from "../../src/component/pubsub.ts";
import jetstream from "../../src/components/pubsub/jetstream.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startNats, type TestNats } from "./nats.ts";
import { pubsubContract, subscription } from "./pubsub.ts";

let server: TestNats;
let connection: NatsConnection;
let manager: JetStreamManager;
beforeAll(async () => {
  server = await startNats();
}, 60_000);
beforeEach(async () => {
  connection = await connect({ servers: server.url });
  manager = await jetstreamManager(connection);
});
afterEach(() => connection.close());
afterAll(() => server.stop());

const open = (items: Record<string, string> = {}): Promise<PubSub> =>
  jetstream.open(server.options(jetstream, { createStreams: "true", ...items }), componentHost());

async function clear(): Promise<void> {
  for await (const { config } of manager.streams.list()) await manager.streams.delete(config.name);
}

pubsubContract("pubsub.jetstream", { features: [], isDurable: true, keepsOrder: true }, async () => {
  await clear();
  let pubsub = await open();
  return {
    pubsub,
    async reopen() {
      await pubsub.close();
      await server.server.kill();
      await server.server.start();
      pubsub = await open();
      return pubsub;
    },
    close: () => pubsub.close(),
  };
});

describe("pubsub.jetstream", () => {
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

  test("uses the stream that has the subject, and reads what others write", () =>
    withPubSub({ createStreams: "false" }, async (pubsub) => {
      await manager.streams.add({ name: "all", subjects: ["orders.>"] });
      const seen: string[] = [];
      await pubsub.subscribe(subscription({ topic: "orders.*" }), async ({ topic, data }) => {
        seen.push(`${topic} ${Buffer.from(data)}`);
      });
      connection.publish("orders.eu", "raw");
      await pubsub.publish({ ...message, topic: "orders.us" });
      await eventually("both are there", () => seen.length === 2);
      expect(seen.sort()).toEqual(["orders.eu raw", "orders.us x"]);
      expect((await manager.streams.info("all")).state.messages).toBe(2);
    }));

  test("says that there is no stream, and how to get one", () =>
    withPubSub({ createStreams: "false", timeout: "1s" }, async (pubsub) => {
      const error = await pubsub.publish(message).catch((e) => e);
      expect(error.message).toContain('no stream of NATS has the subject "topic"');
      expect(error.message).toContain('createStreams: "true"');
      const none = await pubsub.subscribe(subscription(), async () => {}).catch((e) => e);
      expect(none.message).toContain("no stream of NATS has the subject");
    }));

  test("takes topics into one stream", () =>
    withPubSub({ streamName: "one" }, async (pubsub) => {
      for (const topic of ["a", "b.c"]) await pubsub.publish({ ...message, topic });
      const { config, state } = await manager.streams.info("one");
      expect([config.subjects, state.messages]).toEqual([["a", "b.c"], 2]);
    }));

  test.each([
    ["first", '{"id":"one","specversion":"1.0"}'],
    ["after texts", '{"traceparent":"","source":"é","id":"one","data":{"id":"two"}}'],
    ["after what is no text", '{"data":{"id":"two"},"id":"one"}'],
    ["after a quoted quote", String.raw`{"source":"\",\"id\":\"two","id":"one"}`],
  ])("keeps an event that is published twice once, its id %s", (_, text) =>
    withPubSub({}, async (pubsub) => {
      const contentType = "application/cloudevents+json";
      await pubsub.publish({ ...message, contentType, data: Buffer.from(text) });
      await pubsub.publish({ ...message, contentType, data: Buffer.from('{"id":"two"}') });
      await pubsub.publish({ ...message, contentType, data: Buffer.from('{"other":1,"id":"one"}') });
      expect((await manager.streams.info("topic")).state.messages).toBe(2);
    }),
  );

  test("waits longer before each try, and gives up after the last", () =>
    withPubSub({ backOff: "50ms, 100ms", maxDeliver: "3" }, async (pubsub) => {
      const attempts: (number | undefined)[] = [];
      await pubsub.subscribe(subscription(), async ({ attempt }) => {
        attempts.push(attempt);
        throw new Error("no");
      });
      await pubsub.publish(message);
      await eventually("three tries", () => attempts.length === 3);
      const info = await manager.consumers.info("topic", "group-topic");
      expect(info.config).toMatchObject({ max_deliver: 3, backoff: [50_000_000, 100_000_000] });
      expect(attempts).toEqual([1, 2, 3]);
    }));

  test("leaves a message to a handler that takes longer than the server waits, and one that waits for it", () =>
    withPubSub({ ackWait: "2s" }, async (pubsub) => {
      let calls = 0;
      await pubsub.subscribe(subscription(), async () => {
        calls++;
        await new Promise((done) => setTimeout(done, 2_500));
      });
      const inOrder = { ...message, metadata: { partitionKey: "k" } };
      await pubsub.publish(inOrder);
      await pubsub.publish(inOrder);
      const acknowledged = async () =>
        (await manager.consumers.info("topic", "group-topic")).ack_floor.stream_seq === 2;
      await eventually("both are acknowledged", acknowledged);
      expect(calls).toBe(2);
    }));

  test("a new consumer begins where it is told", () =>
    withPubSub({ deliverPolicy: "new" }, async (pubsub) => {
      await pubsub.publish(message);
      const seen: string[] = [];
      await pubsub.subscribe(
        subscription(),
        async ({ data }) => void seen.push(Buffer.from(data).toString()),
      );
      await pubsub.publish({ ...message, data: Buffer.from("new") });
      await eventually("it is there", () => seen.length > 0);
      expect(seen).toEqual(["new"]);
    }));

  test("says why it can not connect", async () => {
    const refused = await open({ natsURL: "nats://127.0.0.1:1", timeout: "500ms" }).catch((e) => e);
    expect(refused.message).toContain("error connecting to nats at 127.0.0.1:1");
    const guarded = await startNats({ authorization: "{ token: sesame }" });
    const denied = await open({ natsURL: guarded.url }).catch((e) => e);
    expect(denied.message).toContain("Authorization Violation");
    await (await open({ natsURL: guarded.url, token: "sesame" })).close();
    await guarded.stop();
    const half = await open({ jwt: "x" }).catch((e) => e);
    expect(half.message).toContain("jwt and seedKey need each other");
    const bad = await open({ backOff: "soon" }).catch((e) => e);
    expect(bad.message).toContain('backOff has "soon"');
  });
});
