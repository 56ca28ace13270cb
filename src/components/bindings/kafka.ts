import type { Binding, BindingEvent, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { flag, list, text } from "../../component/fields.ts";
import { KafkaLink } from "../clients/kafka.ts";
import type { KafkaSettings } from "../clients/kafka-address.ts";
import { kafkaFields } from "../clients/kafka-fields.ts";
import { KafkaGroupReader } from "../clients/kafka-group.ts";
import { KafkaProducer } from "../clients/kafka-producer.ts";
import { KafkaHeaders, placeOf } from "../clients/kafka-record.ts";

export default component({
  type: "bindings.kafka",
  version: "v1",
  status: "stable",
  summary: "Messages to a topic of Kafka and from topics, as a member of a consumer group",
  package: "@platformatic/kafka",
  metadata: {
    ...kafkaFields,
    topics: list({ description: "the app gets the messages of these topics", default: [] }),
    publishTopic: text({ description: "create sends to this topic" }),
    consumerID: text({
      description: "consumer group, when there is no consumerGroup; by default the app id",
    }),
    consumeRetryEnabled: flag({
      description: "a failed message is handled again until it is done; else the next goes on",
      default: false,
    }),
  },
  async open(options, host): Promise<Binding> {
    const headers = new KafkaHeaders(options);
    const group = options.consumerGroup ?? options.consumerID ?? host.appId;
    return new KafkaBinding(await KafkaLink.open(options, host), headers, { ...options, group });
  },
});

type Settings = KafkaSettings & {
  topics: readonly string[];
  publishTopic: string | undefined;
  consumeRetryEnabled: boolean;
  group: string;
};

/** Of one topic. */
const concurrencyMax = 64;

class KafkaBinding implements Binding {
  readonly operations = ["create"];
  readonly #link: KafkaLink;
  readonly #headers: KafkaHeaders;
  readonly #settings: Settings;
  readonly #producer: KafkaProducer;
  readonly #readers: KafkaGroupReader[] = [];

  constructor(link: KafkaLink, headers: KafkaHeaders, settings: Settings) {
    this.#link = link;
    this.#headers = headers;
    this.#settings = settings;
    this.#producer = new KafkaProducer(link);
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply | undefined> {
    if (operation !== "create") throw new Error(`invalid operation type: ${operation}. Expected create`);
    const topic = this.#settings.publishTopic;
    if (topic === undefined) throw new Error("publishTopic is missing: there is no topic to send to");
    await this.#producer.publish({
      ...{ topic, value: data, headers: this.#headers.of(metadata, "") },
      ...placeOf(metadata),
    });
    return undefined;
  }

  async read(handler: (event: BindingEvent) => Promise<Uint8Array | undefined>): Promise<void> {
    const { topics, group, consumeRetryEnabled: isRetried } = this.#settings;
    await Promise.all(
      topics.map(async (topic) => {
        const reader = new KafkaGroupReader(this.#link, {
          ...{ topic, group, isRetried, concurrencyMax, perPartitionMax: 1 },
          handler: async (record) => {
            const contentType = this.#headers.contentTypeOf(record);
            await handler({
              ...{ data: record.value, metadata: this.#headers.metadataOf(record) },
              ...(contentType !== "" && { contentType }),
            });
          },
        });
        this.#readers.push(reader);
        await reader.open();
      }),
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.close()));
    this.#link.close();
    await this.#producer.close();
  }
}
