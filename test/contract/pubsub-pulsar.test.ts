import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import type { PubSub, SubscribeRequest } from "../../src/component/pubsub.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import pulsar from "../../src/components/pubsub/pulsar.ts";
import { createAuthority } from "../scenario/tls-fixture.ts";
import { componentHost, eventually } from "./component-host.ts";
import { prefixedTopics } from "./prefixed-topics.ts";
import { pubsubContract, subscription } from "./pubsub.ts";
import { startPulsar, type TestPulsar } from "./pulsar.ts";

let server: TestPulsar;
let number = 0;
beforeAll(async () => {
  server = await startPulsar();
}, 240_000);
afterAll(() => server.stop(), 60_000);

const open = (items: Record<string, string> = {}): Promise<PubSub> =>
  pulsar.open(server.options(pulsar, items), componentHost());

pubsubContract("pubsub.pulsar", { features: [], isDurable: true, keepsOrder: false }, async () => {
  const prefix = `test-${number++}.`;
  let pubsub = prefixedTopics(await open(), prefix);
  return {
    get pubsub() {
      return pubsub;
    },
    async reopen() {
      await pubsub.close();
      pubsub = prefixedTopics(await open(), prefix);
      return pubsub;
    },
    close: () => pubsub.close(),
  };
});

describe("pubsub.pulsar", () => {
  const withPubSub = async (
    items: Record<string, string>,
    run: (pubsub: PubSub, topic: string) => Promise<void>,
  ) => {
    const pubsub = await open(items);
    try {
      await run(pubsub, `own/${number++}`);
    } finally {
      await pubsub.close();
    }
  };
  const message = { data: Buffer.from("x"), contentType: "", metadata: {} };
  const listen = async (pubsub: PubSub, request: Partial<SubscribeRequest>) => {
    const seen: string[] = [];
    const { close } = await pubsub.subscribe(subscription(request), async ({ data }) => {
      seen.push(Buffer.from(data).toString());
    });
    return { seen, close };
  };

  test("delivers later, at a time or after one", () =>
    withPubSub({}, async (pubsub, topic) => {
      const { seen } = await listen(pubsub, { topic });
      const at = new Date(Date.now() + 2_000).toISOString();
      await pubsub.publish({ ...message, topic, data: Buffer.from("at"), metadata: { deliverAt: at } });
      await pubsub.publish({
        ...message,
        topic,
        data: Buffer.from("after"),
        metadata: { deliverAfter: "2s" },
      });
      await pubsub.publish({ ...message, topic, data: Buffer.from("now") });
      await eventually("all are there", () => seen.length === 3);
      expect(seen[0]).toBe("now");
      const bad = (metadata: Record<string, string>) =>
        pubsub.publish({ ...message, topic, metadata }).catch((e: Error) => e.message);
      expect(await bad({ deliverAt: "soon" })).toContain('deliverAt is "soon"');
      expect(await bad({ deliverAfter: "soon" })).toContain('deliverAfter is "soon"');
    }));

  test("an exclusive subscription has one consumer, a failover one keeps order", () =>
    withPubSub({ subscribeType: "exclusive" }, async (pubsub, topic) => {
      const first = await listen(pubsub, { topic });
      const second = await listen(pubsub, { topic }).catch((e: Error) => e.message);
      expect(second).toContain(`can not subscribe to the topic ${topic} as group`);
      await first.close();
      const metadata = { subscribeType: "failover", processMode: "sync" };
      const { seen } = await listen(pubsub, { topic, metadata });
      const texts = Array.from({ length: 20 }, (_, index) => String(index));
      for (const text of texts) await pubsub.publish({ ...message, topic, data: Buffer.from(text) });
      await eventually("all are there", () => seen.length === 20);
      expect(seen).toEqual(texts);
      const bad = await listen(pubsub, { topic, metadata: { subscribeType: "own" } }).catch((e) => e.message);
      expect(bad).toBe("subscribeType is own, expected one of shared, exclusive, failover, key_shared");
      const all = await listen(pubsub, { topic, metadata: { topicsPattern: ".*" } }).catch((e) => e.message);
      expect(all).toContain("topicsPattern is not done");
    }));

  test("begins with what comes, or with all there is", () =>
    withPubSub({}, async (pubsub, topic) => {
      await (await listen(pubsub, { topic, consumerGroup: "keeper" })).close();
      await pubsub.publish({ ...message, topic, data: Buffer.from("before") });
      const latest = await listen(pubsub, { topic, consumerGroup: "latest" });
      await withPubSub({ subscribeInitialPosition: "earliest" }, async (other) => {
        const earliest = await listen(other, { topic, consumerGroup: "earliest" });
        await pubsub.publish({ ...message, topic, data: Buffer.from("after") });
        await eventually("both are there", () => earliest.seen.length === 2);
      });
      await eventually("it is there", () => latest.seen.length === 1);
      expect(latest.seen).toEqual(["after"]);
    }));

  test("batches, compresses, and does without a disk", () =>
    withPubSub(
      { disableBatching: "false", compressionType: "zstd", persistent: "false" },
      async (pubsub, topic) => {
        // Without a disk the broker drops what no consumer has room for.
        const { seen } = await listen(pubsub, { topic, concurrencyMax: 100 });
        const texts = Array.from({ length: 50 }, (_, index) => `${index}-${"x".repeat(1_000)}`);
        await Promise.all(
          texts.map((text) => pubsub.publish({ ...message, topic, data: Buffer.from(text) })),
        );
        await eventually("all are there", () => seen.length === 50);
        expect([...seen].sort()).toEqual([...texts].sort());
      },
    ));

  test("logs in with a token", async () => {
    // The broker of these tests takes nobody without.
    for (const token of ["", "wrong"]) {
      await withPubSub({ token, timeout: "1s" }, async (pubsub, topic) => {
        const denied = await pubsub.publish({ ...message, topic }).catch((e: Error) => e.message);
        expect(denied).toContain(`pulsar at 127.0.0.1:${server.server.port}`);
        const asked = await pubsub.ping?.().catch((e: Error) => e.message);
        expect(asked).toContain("answered 401");
      });
    }
  });

  test("is asked for its clusters", async () => {
    const pubsub = await open();
    expect(await pubsub.ping?.()).toBeUndefined();
    await pubsub.close();
  });

  test("tells a broker nothing whose certificate nobody known has signed", async () => {
    const { cert, key } = createAuthority("unknown").leaf;
    let heard = "";
    const broker = createServer({ cert, key }, (socket) => socket.on("data", (data) => (heard += data)));
    broker.listen(0, "127.0.0.1");
    await once(broker, "listening");
    const { port } = broker.address() as AddressInfo;
    await withPubSub(
      { host: `localhost:${port}`, enableTLS: "true", timeout: "1s" },
      async (pubsub, topic) => {
        const refused = await pubsub.publish({ ...message, topic }).catch((e) => e);
        expect(refused).toBeInstanceOf(ServerUnavailable);
        expect(refused.outcome).toBe("undone");
      },
    );
    broker.close();
    expect(heard).toBe("");
  });

  test("says what is wrong with its metadata", async () => {
    const said = async (items: Record<string, string>) => {
      try {
        await open(items);
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(await said({ host: "pulsar://localhost:6650" })).toContain(
      "the binary protocol: give the broker's web port",
    );
    expect(await said({ host: "localhost:6650" })).toContain("host has the port 6650");
    expect(await said({ host: "ftp://localhost" })).toContain("host begins with ftp://");
    expect(await said({ host: "ws://localhost", enableTLS: "true" })).toContain("enableTLS is true");
    expect(await said({ subscribeType: "own" })).toContain("subscribeType");
    expect(await said({ topicsPattern: ".*" })).toContain("topicsPattern");
    await withPubSub({ host: "127.0.0.1:1", timeout: "500ms" }, async (pubsub) => {
      const away = await pubsub.publish({ ...message, topic: "t" }).catch((e: Error) => e.message);
      expect(away).toContain("pulsar at 127.0.0.1:1");
    });
  });
});
