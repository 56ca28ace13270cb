import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Admin, Consumer } from "@platformatic/kafka";
import type { PubSub, SubscribeRequest } from "../../src/component/pubsub.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { partitionOfKey } from "../../src/components/clients/kafka-record.ts";
import kafka from "../../src/components/pubsub/kafka.ts";
import { type Authority, createAuthority } from "../scenario/tls-fixture.ts";
import { type Service, startService } from "../services.ts";
import { componentHost, eventually } from "./component-host.ts";
import { startKafka, type TestKafka } from "./kafka.ts";
import { prefixedTopics } from "./prefixed-topics.ts";
import { pubsubContract, subscription } from "./pubsub.ts";

let server: TestKafka;
let provider: Service;
let admin: Admin;
let authority: Authority;
let number = 0;
beforeAll(async () => {
  authority = createAuthority("brokers");
  const { ca: tlsCa, leaf } = authority;
  const tls = { tlsCa, tlsCert: leaf.cert, tlsKey: leaf.key };
  provider = await startService("oidc-provider");
  const jwks = `${provider.details.issuer}/jwks`;
  server = await startKafka({ "num.partitions": "4", user: "alice", password: "wonderland", ...tls, jwks });
  admin = new Admin({ clientId: "test", bootstrapBrokers: [server.broker] });
}, 240_000);
afterAll(async () => {
  await admin.close();
  await server.stop();
  await provider.stop();
}, 60_000);

const open = (items: Record<string, string> = {}): Promise<PubSub> =>
  kafka.open(server.options(kafka, items), componentHost());

for (const partitions of [1, 4]) {
  const one = partitions === 1 ? { isOnePartition: true as const } : {};
  pubsubContract(
    `pubsub.kafka, ${partitions} partitions`,
    { features: ["BULK_PUBSUB"], isDurable: true, keepsOrder: partitions === 1, ...one },
    async () => {
      const prefix = `test-${number++}.`;
      const topics = ["topic", "one", "two"].map((name) => prefix + name);
      await admin.createTopics({ topics, partitions, replicas: 1 });
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
    },
  );
}

describe("pubsub.kafka", () => {
  const withPubSub = async (
    items: Record<string, string>,
    run: (pubsub: PubSub, topic: string) => Promise<void>,
  ) => {
    const pubsub = await open(items);
    try {
      await run(pubsub, `own-${number++}`);
    } finally {
      await pubsub.close();
    }
  };
  const message = { data: Buffer.from("x"), contentType: "", metadata: {} };

  /** What is delivered, as metadata and text. */
  const listen = async (pubsub: PubSub, request: Partial<SubscribeRequest>) => {
    const seen: { text: string; metadata: Record<string, string> }[] = [];
    const { close } = await pubsub.subscribe(subscription(request), async ({ data, metadata }) => {
      seen.push({ text: Buffer.from(data).toString(), metadata });
    });
    return { seen, close };
  };

  test("metadata are headers, and the place of a message is metadata", () =>
    withPubSub({}, async (pubsub, topic) => {
      const { seen } = await listen(pubsub, { topic });
      const metadata = { partitionKey: "tom & jerry", color: "red" };
      await pubsub.publish({ ...message, topic, metadata });
      await eventually("it is there", () => seen.length === 1);
      expect(seen[0]?.metadata).toEqual({
        ...metadata,
        __key: "tom & jerry",
        __topic: topic,
        __offset: "0",
        __partition: String(partitionOfKey(Buffer.from("tom & jerry"), 4)),
        __timestamp: expect.stringMatching(/^\d{13}$/) as unknown as string,
      });
    }));

  test("escapes headers and leaves some out", () =>
    withPubSub({ escapeHeaders: "true", excludeHeaderMetaRegex: "^raw" }, async (pubsub, topic) => {
      const { seen } = await listen(pubsub, { topic });
      await pubsub.publish({
        ...message,
        topic,
        metadata: { __key: "a b*", rawPayload: "true", text: "ž/1" },
      });
      await eventually("it is there", () => seen.length === 1);
      expect(seen[0]?.metadata).toMatchObject({ __key: "a+b%2A", text: "%C5%BE%2F1" });
      expect(seen[0]?.metadata).not.toHaveProperty("rawPayload");
    }));

  test("partitions by number, and by key as Dapr's client does", () =>
    withPubSub({}, async (pubsub, topic) => {
      const { seen } = await listen(pubsub, { topic });
      for (const partition of [3, 0]) {
        await pubsub.publish({ ...message, topic, metadata: { partitionNumber: String(partition) } });
      }
      await eventually("both are there", () => seen.length === 2);
      expect(seen.map(({ metadata }) => metadata.__partition).sort()).toEqual(["0", "3"]);
      const wrong = await pubsub
        .publish({ ...message, topic, metadata: { partitionNumber: "4" } })
        .catch((e: Error) => e.message);
      expect(wrong).toBe(`partitionNumber is 4, and the topic ${topic} has 4 partitions`);
      const bad = await pubsub
        .publish({ ...message, topic, metadata: { partitionNumber: "-1" } })
        .catch((e: Error) => e.message);
      expect(bad).toBe('partitionNumber is "-1", not a whole number');
      // From Sarama's hash partitioner: FNV-1a 32 as an int32, modulo, without its sign.
      expect(["", "a", "key-1", "žluť"].map((key) => partitionOfKey(Buffer.from(key), 10))).toEqual(
        ["", "a", "key-1", "žluť"].map((key) => saramaPartition(key, 10)),
      );
    }));

  test("a new group begins with what comes, or with all there is", () =>
    withPubSub({}, async (pubsub, topic) => {
      await pubsub.publish({ ...message, topic, data: Buffer.from("before") });
      const newest = await listen(pubsub, { topic, consumerGroup: "newest" });
      await withPubSub({ initialOffset: "oldest" }, async (other) => {
        const oldest = await listen(other, { topic, consumerGroup: "oldest" });
        await pubsub.publish({ ...message, topic, data: Buffer.from("after") });
        await eventually("both are there", () => oldest.seen.length === 2);
      });
      await eventually("it is there", () => newest.seen.length === 1);
      expect(newest.seen[0]?.text).toBe("after");
    }));

  test("keeps the place of a group that has not handled anything yet", () =>
    withPubSub({}, async (pubsub, topic) => {
      await (await listen(pubsub, { topic })).close();
      await pubsub.publish({ ...message, topic });
      const { seen } = await listen(pubsub, { topic });
      await eventually("it is there", () => seen.length === 1);
    }));

  test("commits what was handled, and nothing else", () =>
    withPubSub({}, async (pubsub, topic) => {
      const group = `group-${topic}`;
      const metadata = { partitionNumber: "0" };
      let fails = true;
      let handled = 0;
      await pubsub.subscribe(subscription({ topic, consumerGroup: group }), async ({ data }) => {
        if (fails && String(data) !== "0") throw new Error("not yet");
        handled++;
      });
      for (const text of ["0", "1", "2"]) {
        await pubsub.publish({ ...message, topic, data: Buffer.from(text), metadata });
      }
      await eventually("one is committed", async () => (await committed(group, topic)) === 1n);
      fails = false;
      await eventually("all are committed", async () => (await committed(group, topic)) === 3n);
      expect(handled).toBe(3);
    }));

  test("without retries a failed message is passed over", () =>
    withPubSub({ consumeRetryEnabled: "false" }, async (pubsub, topic) => {
      const tries: string[] = [];
      await pubsub.subscribe(subscription({ topic }), async ({ data }) => {
        tries.push(String(data));
        throw new Error("no");
      });
      const metadata = { partitionNumber: "0" };
      for (const text of ["a", "b"]) {
        await pubsub.publish({ ...message, topic, data: Buffer.from(text), metadata });
      }
      await eventually("both are tried", () => tries.length === 2);
      expect(tries).toEqual(["a", "b"]);
    }));

  for (const compression of ["gzip", "snappy", "lz4", "zstd"]) {
    test(`compresses with ${compression}`, () =>
      withPubSub({ compression }, async (pubsub, topic) => {
        const { seen } = await listen(pubsub, { topic });
        await pubsub.publish({ ...message, topic, data: Buffer.from("x".repeat(100_000)) });
        await eventually("it is there", () => seen[0]?.text === "x".repeat(100_000));
      }));
  }

  test("refuses a message that is too large, here or at the broker", () =>
    withPubSub({}, async (pubsub, topic) => {
      const data = Buffer.alloc(5_000_000);
      const said = await pubsub.publish({ ...message, topic, data }).catch((e: Error) => e);
      expect(said).not.toBeInstanceOf(ServerUnavailable);
      expect((said as Error).message).toContain("MESSAGE_TOO_LARGE");
      await withPubSub({ maxMessageBytes: "1000" }, async (small) => {
        const refused = await small
          .publish({ ...message, topic, data: Buffer.alloc(2_000) })
          .catch((e: Error) => e.message);
        expect(refused).toBe("the message has 2100 bytes, and maxMessageBytes is 1000");
      });
    }));

  test("logs in with a password, plain or by SCRAM", async () => {
    const brokers = `127.0.0.1:${server.server.details.sasl}`;
    const login = { brokers, authType: "password", saslUsername: "alice", disableTls: "true" };
    for (const saslMechanism of ["PLAINTEXT", "SHA-256", "SHA-512"]) {
      await withPubSub({ ...login, saslPassword: "wonderland", saslMechanism }, async (pubsub, topic) => {
        const { seen } = await listen(pubsub, { topic });
        await pubsub.publish({ ...message, topic });
        await eventually("it is there", () => seen.length === 1);
      });
      const denied = await open({ ...login, saslPassword: "wrong", saslMechanism }).catch(
        (e: Error) => e.message,
      );
      expect(denied).toContain("SASL authentication failed");
    }
  });

  test("logs in with tokens of an identity provider", async () => {
    const brokers = `127.0.0.1:${server.server.details.bearer}`;
    const login = {
      ...{ brokers, authType: "oidc", disableTls: "true", oidcScopes: "read", oidcClientID: "mecha" },
      oidcTokenEndpoint: `${provider.details.issuer}/token`,
    };
    const extended = { ...login, oidcClientSecret: "secret", oidcExtensions: '{"cluster":"one"}' };
    await withPubSub(extended, async (pubsub, topic) => {
      const { seen } = await listen(pubsub, { topic });
      await pubsub.publish({ ...message, topic });
      await eventually("it is there", () => seen.length === 1);
    });
    const denied = await open({ ...login, oidcClientSecret: "wrong" }).catch((e: Error) => e.message);
    expect(denied).toContain("/token answered 401");
  });

  test("trusts brokers by their certificate, and shows its own", async () => {
    const { ca: caCert, leaf } = authority;
    const { tls, mtls } = server.server.details;
    const own = { clientCert: leaf.cert, clientKey: leaf.key };
    const trusting = { authType: "certificate", caCert, brokers: `127.0.0.1:${tls}` };
    const shown = { authType: "mtls", caCert, ...own, brokers: `127.0.0.1:${mtls}` };
    for (const items of [trusting, shown, { ...trusting, caCert: otherAuthority(), skipVerify: "true" }]) {
      await withPubSub(items, async (pubsub, topic) => {
        const { seen } = await listen(pubsub, { topic });
        await pubsub.publish({ ...message, topic });
        await eventually("it is there", () => seen.length === 1);
      });
    }
    const unknown = await open({ ...trusting, caCert: otherAuthority() }).catch((e: Error) => e.message);
    expect(unknown).toContain("error connecting to kafka");
    const anonymous = await open({ ...trusting, brokers: shown.brokers, dialTimeout: "2s" }).catch((e) => e);
    expect(anonymous.message).toContain("error connecting to kafka");
  });

  test("refuses what a schema registry would be for", () =>
    withPubSub({}, async (pubsub, topic) => {
      const metadata = { valueSchemaType: "Avro" };
      const text = "valueSchemaType is Avro, and values are taken as the bytes they are";
      const sent = await pubsub.publish({ ...message, topic, metadata }).catch((e: Error) => e.message);
      const asked = await listen(pubsub, { topic, metadata }).catch((e: Error) => e.message);
      expect([sent, asked]).toEqual([text, text]);
      await pubsub.publish({ ...message, topic, metadata: { valueSchemaType: "None" } });
    }));

  test("says what is wrong with its metadata", async () => {
    const said = async (items: Record<string, string>) => {
      try {
        await open(items);
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(await said({ authType: "awsiam" })).toContain("expected one of none, password, mtls, certificate");
    expect(await said({ authType: "oidc" })).toBe("oidcTokenEndpoint is missing, for authType oidc");
    expect(await said({ authType: "password" })).toBe("saslUsername is missing, for authType password");
    expect(await said({ authType: "certificate" })).toBe("caCert is missing, for authType certificate");
    expect(await said({ authType: "mtls" })).toBe("clientCert and clientKey are missing, for authType mtls");
    expect(await said({ authType: "mtls", clientCert: "x" })).toBe(
      "clientCert and clientKey need each other",
    );
    expect(await said({ authType: "certificate", caCert: "x" })).toBe("caCert holds no PEM");
    expect(await said({ brokers: "a:b" })).toBe("brokers has a:b, which is no host:port");
    expect(await said({ version: "new" })).toContain('version is "new"');
    expect(await said({ excludeHeaderMetaRegex: "(" })).toContain("excludeHeaderMetaRegex");
    const refused = await said({ brokers: "127.0.0.1:1" });
    expect(refused).toContain("error connecting to kafka at 127.0.0.1:1");
    expect(refused).toContain("ECONNREFUSED");
  });
});

async function committed(groupId: string, topic: string): Promise<bigint | undefined> {
  const consumer = new Consumer({ clientId: "test", bootstrapBrokers: [server.broker], groupId });
  const offsets = await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [0] }] });
  await consumer.close();
  return offsets.get(topic)?.[0];
}

function otherAuthority(): string {
  return createAuthority("others").ca;
}

/** As it is written in Go. */
function saramaPartition(key: string, count: number): number {
  let hash = 2_166_136_261n;
  for (const byte of Buffer.from(key)) hash = BigInt.asUintN(32, (hash ^ BigInt(byte)) * 16_777_619n);
  const partition = BigInt.asIntN(32, hash) % BigInt(count);
  return Number(partition < 0n ? -partition : partition);
}
