import { component } from "../../component/component.ts";
import { flag } from "../../component/fields.ts";
import type {
  BulkPublishEntry,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import { KafkaLink } from "../clients/kafka.ts";
import type { KafkaSettings } from "../clients/kafka-address.ts";
import { kafkaFields } from "../clients/kafka-fields.ts";
import { KafkaGroupReader } from "../clients/kafka-group.ts";
import { KafkaProducer } from "../clients/kafka-producer.ts";
import { KafkaHeaders, placeOf, refuseSchemas } from "../clients/kafka-record.ts";

export default component({
  type: "pubsub.kafka",
  version: "v1",
  status: "stable",
  summary: "Topics of Kafka with consumer groups, order per partition, and messages that all replicas have",
  package: "@platformatic/kafka",
  metadata: {
    ...kafkaFields,
    consumeRetryEnabled: flag({
      description: "a failed message is handled again until it is done; else the next goes on",
      default: true,
    }),
  },
  async open(options, host): Promise<PubSub> {
    const headers = new KafkaHeaders(options);
    return new KafkaPubSub(await KafkaLink.open(options, host), headers, options);
  },
});

type Settings = KafkaSettings & { consumeRetryEnabled: boolean };

class KafkaPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set(["BULK_PUBSUB"]);
  readonly #link: KafkaLink;
  readonly #headers: KafkaHeaders;
  readonly #settings: Settings;
  readonly #producer: KafkaProducer;
  readonly #readers = new Set<KafkaGroupReader>();

  constructor(link: KafkaLink, headers: KafkaHeaders, settings: Settings) {
    this.#link = link;
    this.#headers = headers;
    this.#settings = settings;
    this.#producer = new KafkaProducer(link);
  }

  async publish({ topic, data, contentType, metadata }: OutgoingMessage): Promise<void> {
    const headers = this.#headers.of(metadata, contentType);
    await this.#producer.publish({ topic, value: data, headers, ...placeOf(metadata) });
  }

  async bulkPublish(
    topic: string,
    entries: readonly BulkPublishEntry[],
  ): Promise<{ entryId: string; error: Error }[]> {
    const results = await Promise.allSettled(entries.map((entry) => this.publish({ topic, ...entry })));
    return results.flatMap((result, index) => {
      const entryId = entries[index]?.entryId ?? "";
      return result.status === "fulfilled" ? [] : [{ entryId, error: result.reason as Error }];
    });
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const { topic, consumerGroup, concurrencyMax, bulkMax = 1 } = request;
    refuseSchemas(request.metadata);
    const reader = new KafkaGroupReader(this.#link, {
      topic,
      group: this.#settings.consumerGroup ?? consumerGroup,
      concurrencyMax: Math.max(concurrencyMax, bulkMax),
      perPartitionMax: bulkMax,
      isRetried: this.#settings.consumeRetryEnabled,
      handler: (record, attempt) =>
        handler({
          ...{ topic, attempt, data: record.value },
          contentType: this.#headers.contentTypeOf(record),
          metadata: this.#headers.metadataOf(record),
        }),
    });
    this.#readers.add(reader);
    try {
      await reader.open();
    } catch (error) {
      this.#readers.delete(reader);
      throw error;
    }
    return {
      close: async () => {
        await reader.close();
        this.#readers.delete(reader);
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#readers].map((reader) => reader.close()));
    this.#link.close();
    await this.#producer.close();
  }
}
