import { type ComponentHost, component } from "../../component/component.ts";
import { choice, duration, type Options } from "../../component/fields.ts";
import type {
  BulkPublishEntry,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import type { Clock } from "../../edges/clock.ts";
import type { Mutation, NewMessage, Store } from "../store/store.ts";
import { headersOf } from "./message-headers.ts";
import { storeTopic } from "./spaces.ts";
import { TopicConsumer, type TopicConsumerOptions } from "./topic-consumer.ts";

/** What topics in a store take. */
export const topicFields = {
  initialOffset: choice(["oldest", "newest"], {
    description:
      "where a consumer group that is seen for the first time starts; later ones go on where they were",
    default: "oldest",
  }),
  processingTimeout: duration({
    description: "after it a message of a crashed consumer is delivered again; handlers may take longer",
    default: 30_000,
    min: 1_000,
  }),
  redeliverInterval: duration({
    description: "wait before the first redelivery; it doubles with each further one",
    default: 100,
    min: 1,
  }),
  redeliverIntervalMax: duration({
    description: "longest wait before a redelivery",
    default: 30_000,
    min: 1,
  }),
};

export function pubsubOnStore(store: Store) {
  return component({
    type: "pubsub.mecha",
    version: "v1",
    status: "stable",
    summary: "Durable topics with consumer groups in mecha's own store: nothing to install",
    metadata: topicFields,
    async open(options, host): Promise<PubSub> {
      return topicsOn(store, options, host, (topic) => storeTopic(host.namespace, host.name, topic));
    },
  });
}

/** Topics in a store. Closing them leaves the store open. */
export function topicsOn(
  store: Store,
  options: Options<typeof topicFields>,
  { edges, log }: Pick<ComponentHost, "edges" | "log">,
  topicName: (topic: string) => string,
): PubSub {
  const { processingTimeout: leaseMs, redeliverInterval: first, redeliverIntervalMax: max } = options;
  const from = options.initialOffset === "oldest" ? "earliest" : "latest";
  return new MechaPubSub(topicName, from, { store, edges, log, leaseMs, backOffMs: { first, max } });
}

/** The component when it is one of the engine's own: its messages can be part of a larger commit. */
export function enginePubSub(component: PubSub): MechaPubSub | undefined {
  return component instanceof MechaPubSub ? component : undefined;
}

class MechaPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set<PubSubFeature>(["MESSAGE_TTL", "BULK_PUBSUB"]);
  readonly #topicName: (topic: string) => string;
  readonly #from: "earliest" | "latest";
  readonly #consumerOptions: TopicConsumerOptions;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #consumers = new Set<TopicConsumer>();

  constructor(
    topicName: (topic: string) => string,
    from: "earliest" | "latest",
    consumerOptions: TopicConsumerOptions,
  ) {
    this.#topicName = topicName;
    this.#from = from;
    this.#consumerOptions = consumerOptions;
    this.#store = consumerOptions.store;
    this.#clock = consumerOptions.edges.clock;
  }

  async publish(message: OutgoingMessage): Promise<void> {
    await this.#store.commit([this.mutationOf(message.topic, message)]);
  }

  /** One commit: all entries or none. */
  async bulkPublish(
    topic: string,
    entries: readonly BulkPublishEntry[],
  ): Promise<{ entryId: string; error: Error }[]> {
    if (entries.length === 0) return [];
    try {
      await this.#store.commit(entries.map((entry) => this.mutationOf(topic, entry)));
      return [];
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      return entries.map(({ entryId }) => ({ entryId, error }));
    }
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const topic = this.#topicName(request.topic);
    await this.#store.ensureGroup(topic, request.consumerGroup, this.#from);
    const consumer = new TopicConsumer({ ...request, storeTopic: topic }, handler, this.#consumerOptions);
    this.#consumers.add(consumer);
    consumer.start();
    return {
      close: async () => {
        this.#consumers.delete(consumer);
        await consumer.close();
      },
    };
  }

  async close(): Promise<void> {
    const closing = [...this.#consumers].map((consumer) => consumer.close());
    this.#consumers.clear();
    await Promise.all(closing);
  }

  /** What publishing comes to in a commit of the engine's own store. */
  mutationOf(topic: string, message: Omit<OutgoingMessage, "topic">): Mutation {
    const { data, metadata } = message;
    const stored: NewMessage = { data, headers: headersOf(message) };
    if (metadata.partitionKey) stored.orderKey = metadata.partitionKey;
    const ttlSeconds = Number(metadata.ttlInSeconds);
    if (ttlSeconds > 0) stored.expiresAtMs = this.#clock.now() + ttlSeconds * 1000;
    return { kind: "append", topic: this.#topicName(topic), message: stored };
  }
}
