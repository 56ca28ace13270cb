import { component } from "../../component/component.ts";
import { choice, duration, flag, number, text } from "../../component/fields.ts";
import type {
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import { parseDuration } from "../../kit/duration.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { PulsarLink, type PulsarSettings } from "../clients/pulsar.ts";
import { PulsarConsumer } from "../clients/pulsar-consumer.ts";
import { type PulsarMessage, PulsarProducer } from "../clients/pulsar-producer.ts";

const binaryOnly = "the WebSocket API has no such thing";
const types = ["shared", "exclusive", "failover", "key_shared"] as const;

export default component({
  type: "pubsub.pulsar",
  version: "v1",
  status: "stable",
  summary: "Topics of Pulsar with subscriptions of each type, over its WebSocket API",
  metadata: {
    host: text({ description: "host:port of the WebSocket API, such as localhost:8080", required: true }),
    enableTLS: flag({ description: "connect with TLS", default: false }),
    token: text({ description: "JSON web token to log in with", sensitive: true }),
    tenant: text({ description: "tenant of the topics", default: "public" }),
    namespace: text({ description: "namespace of the topics", default: "default" }),
    persistent: flag({ description: "messages are on disk before they are published", default: true }),
    subscribeType: choice(types, {
      description: "how the consumers of a subscription share its messages",
      default: "shared",
    }),
    subscribeInitialPosition: choice(["latest", "earliest"], {
      description: "where a new subscription begins",
      default: "latest",
    }),
    subscribeMode: choice(["durable", "non_durable"], {
      description: "non_durable: a subscription goes with its last consumer",
      default: "durable",
    }),
    redeliveryDelay: duration({
      description: "pause before a failed message is delivered again",
      default: 30_000,
      min: 100,
      max: 86_400_000,
    }),
    processMode: choice(["async", "sync"], {
      description: "sync: one message of a subscription at a time",
      default: "async",
    }),
    maxConcurrentHandlers: number({
      description: "messages of a subscription at work at once",
      default: 100,
      min: 1,
      max: 10_000,
    }),
    receiverQueueSize: number({
      description: "messages that the broker sends ahead, at most those that may be at work",
      default: 1_000,
      min: 1,
      max: 100_000,
    }),
    disableBatching: flag({
      description: "each message on its own, so that one that failed does not bring back others",
      default: true,
    }),
    batchingMaxPublishDelay: duration({ description: "how long a batch waits", default: 10, min: 1 }),
    batchingMaxMessages: number({ description: "messages of a batch", default: 1_000, min: 1 }),
    compressionType: choice(["none", "lz4", "zlib", "zstd"], {
      description: "how the broker's side compresses messages",
      default: "none",
    }),
    timeout: duration({
      description: "longest wait for the broker's answer; a silent broker is given up after it",
      default: 30_000,
      min: 100,
      max: 600_000,
    }),
    batchingMaxSize: number({ description: "bytes of a batch", missing: binaryOnly }),
    compressionLevel: text({ description: "how hard to compress", missing: binaryOnly }),
    replicateSubscriptionState: flag({ description: "subscriptions over clusters", missing: binaryOnly }),
    topicsPattern: text({ description: "topics by a regular expression", missing: binaryOnly }),
    autoDiscoveryPeriod: duration({ description: "how often topics are looked for", missing: binaryOnly }),
    listenerName: text({ description: "listener of the brokers", missing: binaryOnly }),
    publicKey: text({ description: "key to encrypt with", missing: "messages are not encrypted" }),
    privateKey: text({
      description: "key to decrypt with",
      sensitive: true,
      missing: "messages are not decrypted",
    }),
    keys: text({ description: "names of keys", missing: "messages are not encrypted" }),
    oauth2TokenURL: text({ description: "where tokens are got", missing: "give a token" }),
    oauth2ClientID: text({ description: "client of the identity provider", missing: "give a token" }),
    oauth2ClientSecret: text({ description: "its secret", sensitive: true, missing: "give a token" }),
  },
  async open(options, host): Promise<PubSub> {
    const link = new PulsarLink(options, host.edges);
    return Object.assign(new PulsarPubSub(link, options, host.log), { ping: () => link.ping() });
  },
});

interface Settings extends PulsarSettings {
  subscribeType: (typeof types)[number];
  subscribeInitialPosition: "latest" | "earliest";
  subscribeMode: "durable" | "non_durable";
  redeliveryDelay: number;
  processMode: "async" | "sync";
  maxConcurrentHandlers: number;
  receiverQueueSize: number;
  disableBatching: boolean;
  batchingMaxPublishDelay: number;
  batchingMaxMessages: number;
  compressionType: "none" | "lz4" | "zlib" | "zstd";
}

/** Idle ones above so many are closed. */
const producersMax = 100;

class PulsarPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set();
  readonly #link: PulsarLink;
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #producers = new Map<string, PulsarProducer>();
  readonly #consumers = new Set<PulsarConsumer>();

  constructor(link: PulsarLink, settings: Settings, log: Log) {
    this.#link = link;
    this.#settings = settings;
    this.#log = log;
  }

  async publish(message: OutgoingMessage): Promise<void> {
    const sent = messageFor(message);
    await this.#producerFor(message.topic).publish(sent);
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const concurrencyMax = this.#concurrencyOf(request);
    const consumer = new PulsarConsumer({
      ...{ link: this.#link, log: this.#log, request, handler, concurrencyMax },
      parameters: this.#consumerParameters(request, concurrencyMax),
    });
    this.#consumers.add(consumer);
    try {
      await consumer.open();
    } catch (error) {
      this.#consumers.delete(consumer);
      throw error;
    }
    return {
      close: async () => {
        await consumer.close();
        this.#consumers.delete(consumer);
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()));
    this.#link.close();
    await Promise.all([...this.#producers.values()].map((producer) => producer.close()));
  }

  #producerFor(topic: string): PulsarProducer {
    const known = this.#producers.get(topic);
    if (known !== undefined) return known;
    for (const [name, { isIdle }] of this.#producers) {
      if (this.#producers.size < producersMax) break;
      if (!isIdle) continue;
      void this.#producers.get(name)?.close();
      this.#producers.delete(name);
    }
    const producer = new PulsarProducer(this.#link, topic, this.#producerParameters());
    this.#producers.set(topic, producer);
    return producer;
  }

  #producerParameters(): Record<string, string> {
    const { disableBatching, batchingMaxPublishDelay, batchingMaxMessages, compressionType, timeout } =
      this.#settings;
    const batching = {
      batchingEnabled: "true",
      batchingMaxMessages: String(batchingMaxMessages),
      batchingMaxPublishDelay: String(batchingMaxPublishDelay),
    };
    return {
      sendTimeoutMillis: String(timeout),
      messageRoutingMode: "RoundRobinPartition",
      ...(!disableBatching && batching),
      ...(compressionType !== "none" && { compressionType: compressionType.toUpperCase() }),
    };
  }

  #consumerParameters({ metadata }: SubscribeRequest, concurrencyMax: number): Record<string, string> {
    const { subscribeInitialPosition, subscribeMode, redeliveryDelay, receiverQueueSize } = this.#settings;
    if (metadata.topicsPattern) throw new Error(`topicsPattern is not done: ${binaryOnly}`);
    const type = (metadata.subscribeType ?? this.#settings.subscribeType).toLowerCase();
    const known = types.find((one) => one === type);
    if (known === undefined) throw new Error(`subscribeType is ${type}, expected one of ${types.join(", ")}`);
    return {
      subscriptionType: namesOfTypes[known],
      subscriptionInitialPosition: subscribeInitialPosition === "latest" ? "Latest" : "Earliest",
      subscriptionMode: subscribeMode === "durable" ? "Durable" : "NonDurable",
      negativeAckRedeliveryDelay: String(redeliveryDelay),
      receiverQueueSize: String(Math.min(receiverQueueSize, concurrencyMax)),
    };
  }

  #concurrencyOf({ concurrencyMax, bulkMax = 1, metadata }: SubscribeRequest): number {
    const mode = (metadata.processMode ?? this.#settings.processMode).toLowerCase();
    if (mode !== "sync" && mode !== "async")
      throw new Error(`processMode is ${mode}, expected async or sync`);
    const own = mode === "sync" ? 1 : this.#settings.maxConcurrentHandlers;
    return Math.max(bulkMax, Math.min(concurrencyMax, own));
  }
}

const namesOfTypes = {
  shared: "Shared",
  exclusive: "Exclusive",
  failover: "Failover",
  key_shared: "Key_Shared",
} as const;

/** What of the metadata is said to the broker; the rest are properties. */
function messageFor({ data, contentType, metadata }: OutgoingMessage): PulsarMessage {
  const { partitionKey, deliverAt, deliverAfter, ...rest } = metadata;
  const typed = contentType !== "" && !("content-type" in rest);
  const properties = Object.entries(rest).filter(([, value]) => value !== "");
  return {
    payload: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
    properties: {
      ...Object.fromEntries(properties),
      // Dapr's own client has no place for it.
      ...(typed && { "content-type": contentType }),
    },
    ...(partitionKey && { key: partitionKey }),
    ...(deliverAt && { deliverAt: instantOf(deliverAt) }),
    ...(deliverAfter && { deliverAfterMs: spanOf(deliverAfter) }),
  };
}

function instantOf(value: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}T\S+(Z|[+-]\d{2}:\d{2})$/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms))
    throw new Error(`deliverAt is ${JSON.stringify(value)}, not a time such as 2026-01-02T03:04:05Z`);
  return ms;
}

function spanOf(value: string): number {
  try {
    return parseDuration(value);
  } catch (error) {
    throw new Error(`deliverAfter is ${JSON.stringify(value)}, not a duration such as 4h5m3s`, {
      cause: error,
    });
  }
}
