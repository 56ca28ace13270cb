import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { OpenSubscriptions } from "../component/open-subscriptions.ts";
import type {
  BulkPublishEntry,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../component/pubsub.ts";
import { messageOf } from "../kit/message-of.ts";
import * as wire from "../wire/dapr/proto/components/v1/components_pb.js";
import type { PluggedLink } from "./link.ts";
import { Pull } from "./pull.ts";

const known: ReadonlySet<string> = new Set<PubSubFeature>([
  "SUBSCRIBE_WILDCARDS",
  "MESSAGE_TTL",
  "BULK_PUBSUB",
]);
/** Dapr's components spell it so. */
const spelled: Record<string, PubSubFeature> = { BULK_PUBLISH: "BULK_PUBSUB" };

export async function openPubSub(link: PluggedLink): Promise<PubSub> {
  const { features } = await link.call(
    {
      method: "PubSub/Features",
      request: wire.EmptySchema,
      reply: wire.FeaturesResponseSchema,
      isRead: true,
    },
    {},
  );
  const named = features.map((one) => spelled[one] ?? one);
  return new PluggedPubSub(link, new Set(named.filter((one): one is PubSubFeature => known.has(one))));
}

class PluggedPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature>;
  bulkPublish?: NonNullable<PubSub["bulkPublish"]>;
  readonly #link: PluggedLink;
  readonly #subscriptions = new OpenSubscriptions();

  constructor(link: PluggedLink, features: ReadonlySet<PubSubFeature>) {
    this.#link = link;
    this.features = features;
    if (features.has("BULK_PUBSUB")) this.bulkPublish = (topic, entries) => this.#bulkPublish(topic, entries);
  }

  async publish({ topic, data, contentType, metadata }: OutgoingMessage): Promise<void> {
    await this.#link.call(
      { method: "PubSub/Publish", request: wire.PublishRequestSchema, reply: wire.EmptySchema },
      { data, pubsubName: this.#link.instance, topic, metadata, contentType },
    );
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const { topic: name, concurrencyMax, consumerGroup, metadata } = request;
    const topic = { name, metadata: { consumerID: consumerGroup, ...metadata } };
    const pull = new Pull(this.#link, {
      ...{ method: "PubSub/PullMessages", concurrencyMax },
      first: toBinary(wire.PullMessagesRequestSchema, create(wire.PullMessagesRequestSchema, { topic })),
      handle: (bytes) => handle(bytes, name, handler),
    });
    await pull.open();
    return this.#subscriptions.add(pull);
  }

  async close(): Promise<void> {
    await this.#subscriptions.close();
    await this.#link.close();
  }

  async #bulkPublish(topic: string, entries: readonly BulkPublishEntry[]) {
    const answer = await this.#link.call(
      {
        method: "PubSub/BulkPublish",
        request: wire.BulkPublishRequestSchema,
        reply: wire.BulkPublishResponseSchema,
      },
      {
        ...{ topic, pubsubName: this.#link.instance, metadata: {} },
        entries: entries.map(({ data: event, ...rest }) => ({ ...rest, event })),
      },
    );
    return answer.failedEntries.map(({ entryId, error }) => ({ entryId, error: new Error(error) }));
  }
}

async function handle(bytes: Uint8Array, topic: string, handler: MessageHandler): Promise<Uint8Array> {
  const message = fromBinary(wire.PullMessagesResponseSchema, bytes);
  const { data, contentType, metadata } = message;
  const answer = create(wire.PullMessagesRequestSchema, { ackMessageId: message.id });
  try {
    await handler({ topic: message.topicName || topic, data, contentType, metadata });
  } catch (error) {
    answer.ackError = create(wire.RefusalSchema, { message: messageOf(error) });
  }
  return toBinary(wire.PullMessagesRequestSchema, answer);
}
