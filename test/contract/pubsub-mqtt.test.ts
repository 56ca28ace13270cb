import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { connectAsync, type MqttClient } from "mqtt";
import type { PubSub } from "../../src/component/pubsub.ts";
import mqtt3 from "../../src/components/pubsub/mqtt3.ts";
import mqtt5 from "../../src/components/pubsub/mqtt5.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startMosquitto, type TestMosquitto } from "./mosquitto.ts";
import { pubsubContract, subscription } from "./pubsub.ts";

let server: TestMosquitto;
let raw: MqttClient;
beforeAll(async () => {
  server = await startMosquitto();
}, 60_000);
afterAll(() => server.stop());
beforeEach(async () => {
  raw = await connectAsync(server.url, { reconnectPeriod: 200 });
  raw.on("error", () => {});
});
afterEach(() => raw.endAsync(true));

type Component = typeof mqtt3 | typeof mqtt5;
const open = (component: Component, items: Record<string, string> = {}): Promise<PubSub> =>
  component.open(server.options(component, items), componentHost());

/** Sessions of the contract have the same names in every test: they begin anew. */
async function clear(): Promise<void> {
  const topics = ["topic", "one", "two", "orders/+", "orders/eu"];
  const groups = ["group", "a", "b", "open", "closed", "left", "right"];
  await Promise.all(
    topics
      .flatMap((topic) => groups.map((group) => `${group}-${topic}`))
      .map(async (clientId) => (await connectAsync(server.url, { clientId, clean: true })).endAsync(true)),
  );
}

const both = [
  { component: mqtt3, version: 4 as const, features: ["SUBSCRIBE_WILDCARDS" as const] },
  { component: mqtt5, version: 5 as const, features: ["SUBSCRIBE_WILDCARDS", "MESSAGE_TTL"] as const },
];

for (const { component, version, features } of both) {
  for (const qos of version === 4 ? ["1", "2"] : ["1"]) {
    pubsubContract(
      `${component.type}, QoS ${qos}`,
      {
        ...{
          features: [...features],
          isDurable: true,
          keepsOrder: false,
          wildcard: "orders/+",
        },
        ...(version === 4 ? { isBare: true as const } : { expiresLateMs: 1_000 }),
      },
      async () => {
        await clear();
        let pubsub = await open(component, { qos });
        return {
          pubsub,
          async reopen() {
            await pubsub.close();
            await server.server.kill();
            await server.server.start();
            pubsub = await open(component, { qos });
            return pubsub;
          },
          close: () => pubsub.close(),
        };
      },
    );
  }

  describe(component.type, () => {
    const message = { topic: "topic", data: Buffer.from("x"), contentType: "", metadata: {} };
    const withPubSub = async (items: Record<string, string>, run: (pubsub: PubSub) => Promise<void>) => {
      await clear();
      const pubsub = await open(component, items);
      try {
        await run(pubsub);
      } finally {
        await pubsub.close();
      }
    };
    const listen = async (pubsub: PubSub, rest: Parameters<typeof subscription>[0] = {}) => {
      const seen: string[] = [];
      const { close } = await pubsub.subscribe(subscription(rest), async ({ data, metadata }) => {
        seen.push(`${Buffer.from(data)}${metadata.retained === "true" ? " retained" : ""}`);
      });
      return { seen, close };
    };

    test("speaks with other clients", () =>
      withPubSub({}, async (pubsub) => {
        const { seen } = await listen(pubsub);
        const got: string[] = [];
        raw.on("message", (topic, data, { qos }) => got.push(`${topic} ${data} ${qos}`));
        await raw.subscribeAsync("topic", { qos: 2 });
        await raw.publishAsync("topic", "raw", { qos: 2 });
        await pubsub.publish(message);
        await eventually("all are there", () => seen.length === 2 && got.length === 2);
        expect(seen).toEqual(["raw", "x"]);
        expect(got).toEqual(["topic raw 2", "topic x 1"]);
      }));

    test("has the broker keep the last message of a topic, when it or the component says so", () =>
      withPubSub({ retain: "true" }, async (pubsub) => {
        await pubsub.publish(message);
        await pubsub.publish({ ...message, data: Buffer.from("fleeting"), metadata: { retain: "false" } });
        const { seen } = await listen(pubsub);
        await pubsub.publish({ ...message, data: Buffer.from("end"), metadata: { retain: "false" } });
        await eventually("the end is there", () => seen.includes("end"));
        expect(seen).toEqual(["x retained", "end"]);
        await raw.publishAsync("topic", "", { retain: true });
        const bad = await pubsub.publish({ ...message, metadata: { retain: "often" } }).catch((e) => e);
        expect(bad.message).toBe('retain is "often", expected true or false');
      }));

    test("the broker forgets a clean session, and one that was unsubscribed", async () => {
      for (const [cleanSession, unsubscribeOnClose, kept] of [
        ["true", "false", false],
        ["false", "true", false],
        ["false", "false", true],
      ] as const) {
        await withPubSub({ cleanSession }, async (pubsub) => {
          await (await listen(pubsub, { metadata: { unsubscribeOnClose } })).close();
          await pubsub.publish(message);
          const { seen } = await listen(pubsub);
          await pubsub.publish({ ...message, data: Buffer.from("end") });
          await eventually("the end is there", () => seen.includes("end"));
          expect(seen).toEqual(kept ? ["x", "end"] : ["end"]);
        });
      }
    });

    test("instances with one consumerID share the messages when they are told to", () =>
      withPubSub({ shared: "true", clientID: "left" }, async (left) => {
        const right = await open(component, { shared: "true", clientID: "right" });
        const [one, two] = [await listen(left), await listen(right)];
        for (let index = 0; index < 20; index++) {
          await left.publish({ ...message, data: Buffer.from(String(index)) });
        }
        await eventually("all are there", () => one.seen.length + two.seen.length === 20);
        expect([one.seen.length, two.seen.length]).toEqual([10, 10]);
        await right.close();
        const alone = await open(component, { shared: "true" }).catch((e) => e);
        expect(alone.message).toContain("shared needs a clientID of its own for each instance");
      }));

    test("acknowledges a message when its handler is done, not before", () =>
      withPubSub({}, async (pubsub) => {
        const first = await open(component);
        const { promise: atWork, resolve } = Promise.withResolvers<void>();
        const { promise: stuck, resolve: release } = Promise.withResolvers<void>();
        await first.subscribe(subscription(), async () => {
          resolve();
          await stuck;
        });
        await pubsub.publish(message);
        await atWork;
        // The session is taken over, as by a runtime that follows one that was killed.
        const { seen } = await listen(pubsub);
        await eventually("it is delivered again", () => seen.length > 0);
        expect(seen).toEqual(["x"]);
        const closing = first.close();
        release();
        await closing;
      }));

    test("QoS 0 is at most once", () =>
      withPubSub({ qos: "0" }, async (pubsub) => {
        const tries: string[] = [];
        await pubsub.subscribe(subscription(), async ({ data }) => {
          tries.push(String(data));
          throw new Error("no");
        });
        for (const text of ["a", "b"]) await pubsub.publish({ ...message, data: Buffer.from(text) });
        await eventually("both were there", () => tries.includes("b"));
        expect(tries).toEqual(["a", "b"]);
      }));

    test("waits for what Mosquitto saves, with QoS 2 too", () =>
      withPubSub({ qos: "2", awaitSave: "true" }, async (pubsub) => {
        const { seen } = await listen(pubsub);
        const texts = Array.from({ length: 40 }, (_, index) => `${index}`);
        await Promise.all(texts.map((text) => pubsub.publish({ ...message, data: Buffer.from(text) })));
        await eventually("all are there", () => seen.length === texts.length);
      }));

    test("refuses what it can not do, and says why", async () => {
      const refusal = (items: Record<string, string>) =>
        open(component, { timeout: "500ms", ...items }).catch((e) => e.message);
      expect(await refusal({ url: "tcp://127.0.0.1:1" })).toContain(
        "error connecting to mqtt at 127.0.0.1:1: connect ECONNREFUSED",
      );
      expect(await refusal({ url: "ws://x" })).toBe("url begins with ws://, not with tcp:// or ssl://");
      expect(await refusal({ url: "x" })).toBe("url is no tcp:// or ssl:// address");
      expect(await refusal({ caCert: "x" })).toBe("caCert and clientCert need an ssl:// address");
      expect(await refusal({ clientKey: "x" })).toBe("clientCert and clientKey need each other");
      expect(await refusal({ awaitSave: "true", qos: "0" })).toBe("awaitSave needs qos 1 or 2");
      expect(() => server.options(component, { qos: "3" })).toThrow("qos");
      await withPubSub({}, async (pubsub) => {
        const wild = await pubsub.publish({ ...message, topic: "a/+" }).catch((e) => e);
        expect(wild.message).toBe('"a/+" is no topic of mqtt to publish to');
        const flag = await listen(pubsub, { metadata: { unsubscribeOnClose: "x" } }).catch((e) => e);
        expect(flag.message).toContain('unsubscribeOnClose is "x"');
      });
    });
  });
}

describe("a Mosquitto with passwords", () => {
  test("takes who has one", async () => {
    const strict = await startMosquitto({ allow_anonymous: "false" });
    for (const component of [mqtt3, mqtt5]) {
      const denied = await component
        .open(strict.options(component, { url: strict.url.replace("//", "//me:wrong@") }), componentHost())
        .catch((e) => e);
      expect(denied.message).toContain("the broker refused the connection: not authorized");
      expect(denied.message).not.toContain("wrong");
    }
    await strict.stop();
  });
});
