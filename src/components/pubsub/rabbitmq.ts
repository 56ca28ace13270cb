import type { Channel, ConsumeMessage } from "amqplib";
import { component } from "../../component/component.ts";
import { choice, duration, flag, number, parseFlag } from "../../component/fields.ts";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import { OpenSubscriptions } from "../../component/open-subscriptions.ts";
import type {
  IncomingMessage,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { RabbitmqLink } from "../clients/rabbitmq.ts";
import { RabbitmqConsumer, settle } from "../clients/rabbitmq-consumer.ts";
import { rabbitmqFields } from "../clients/rabbitmq-fields.ts";
import { priorityMax, propertiesFor, wholeNumber } from "../clients/rabbitmq-properties.ts";

export default component({
  type: "pubsub.rabbitmq",
  version: "v1",
  status: "stable",
  summary: "Exchanges and queues of RabbitMQ in Dapr's layout; every message is confirmed by the broker",
  package: "amqplib",
  metadata: {
    ...rabbitmqFields,
    durable: flag({ description: "exchanges and queues outlive the broker", default: true }),
    deletedWhenUnused: flag({
      description: "the broker deletes a queue with its last consumer, and the messages in it",
      default: true,
    }),
    exchangeKind: choice(["fanout", "topic", "direct", "headers"], {
      description: "kind of the exchange of a topic",
      default: "fanout",
    }),
    deliveryMode: number({
      description: "2: messages outlive the broker; 0 or 1: they do not",
      default: 2,
      min: 0,
      max: 2,
    }),
    publisherConfirm: flag({
      description: "taken as true: a message is published when the broker says so",
      default: true,
    }),
    autoAck: flag({ description: "the broker forgets a message when it sends it", default: false }),
    requeueInFailure: flag({
      description: "what the app did not take comes again; else it is dropped or dead-lettered",
      default: false,
    }),
    enableDeadLetter: flag({ description: "what is dropped goes to the queue dlq-QUEUE", default: false }),
    prefetchCount: number({
      description: "messages taken ahead of the app; 0: as many as may be at work",
      default: 0,
      min: 0,
      max: 65_535,
    }),
    maxLen: number({ description: "messages of a queue at most", min: 1 }),
    maxLenBytes: number({ description: "bytes of a queue at most", min: 1 }),
    ttlInSeconds: duration({
      description: "how long a message may wait, when it does not say it itself",
      min: 1,
    }),
    publishMessagePropertiesToMetadata: flag({
      description: "the app gets the properties of the message",
      default: false,
    }),
  },
  async open(options, host): Promise<PubSub> {
    return new RabbitmqPubSub(await RabbitmqLink.open(options, host), options, host);
  },
});

interface Settings {
  durable: boolean;
  deletedWhenUnused: boolean;
  exchangeKind: string;
  deliveryMode: number;
  autoAck: boolean;
  requeueInFailure: boolean;
  enableDeadLetter: boolean;
  prefetchCount: number;
  maxLen: number | undefined;
  maxLenBytes: number | undefined;
  ttlInSeconds: number | undefined;
  publishMessagePropertiesToMetadata: boolean;
}

interface Surroundings {
  edges: Edges;
  log: Log;
}

/** A message that comes again at once would come for ever. */
const requeueMs = 200;

class RabbitmqPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set(["MESSAGE_TTL"]);
  readonly #link: RabbitmqLink;
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #subscriptions = new OpenSubscriptions();

  constructor(link: RabbitmqLink, settings: Settings, surroundings: Surroundings) {
    this.#link = link;
    this.#settings = settings;
    this.#surroundings = surroundings;
  }

  async publish({ topic, data, contentType, metadata }: OutgoingMessage): Promise<void> {
    const { routingKey, options } = propertiesFor(metadata, contentType, this.#settings);
    const declare = (channel: Channel) => declareExchange(channel, topic, this.#settings);
    await this.#link.publish({
      ...{ exchange: topic, routingKey, content: data, options },
      prepare: { key: topic, run: declare },
    });
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const subscription = new Subscription(request, handler, {
      link: this.#link,
      settings: this.#settings,
      surroundings: this.#surroundings,
    });
    await subscription.open();
    return this.#subscriptions.add(subscription);
  }

  async close(): Promise<void> {
    await this.#subscriptions.close();
    await this.#link.close();
  }
}

function declareExchange(channel: Channel, exchange: string, settings: Settings): Promise<unknown> {
  const { exchangeKind, durable, deletedWhenUnused: autoDelete } = settings;
  return channel.assertExchange(exchange, exchangeKind, { durable, autoDelete });
}

interface Parts {
  link: RabbitmqLink;
  settings: Settings;
  surroundings: Surroundings;
}

/** One queue that is bound to the exchange of a topic. */
class Subscription {
  readonly #request: SubscribeRequest;
  readonly #handler: MessageHandler;
  readonly #parts: Parts;
  readonly #queue: string;
  readonly #atWork = new MessagesAtWork();
  readonly #consumer: RabbitmqConsumer;

  constructor(request: SubscribeRequest, handler: MessageHandler, parts: Parts) {
    this.#request = request;
    this.#handler = handler;
    this.#parts = parts;
    this.#queue = request.metadata.queueName || `${request.consumerGroup}-${request.topic}`;
    this.#consumer = new RabbitmqConsumer(parts.link, {
      ...{ queue: this.#queue, prefetch: this.#concurrency },
      ...{ log: parts.surroundings.log, details: { topic: request.topic } },
      declare: (channel) => this.#declare(channel),
      take: (channel, message) => this.#take(channel, message),
    });
  }

  /** Rejects when the broker does not take what is declared. */
  open(): Promise<void> {
    return this.#consumer.open();
  }

  async close(): Promise<void> {
    await this.#consumer.stop();
    await this.#atWork.all();
    await this.#consumer.close();
  }

  /** Declares what has to be there. */
  async #declare(channel: Channel): Promise<void> {
    const { settings } = this.#parts;
    const { topic, metadata } = this.#request;
    const { durable, deletedWhenUnused: autoDelete, enableDeadLetter } = settings;
    await declareExchange(channel, topic, settings);
    if (enableDeadLetter) await this.#declareDeadLetters(channel);
    await channel.assertQueue(this.#queue, { durable, autoDelete, arguments: this.#arguments() });
    for (const key of (metadata.routingKey ?? "").split(",")) {
      await channel.bindQueue(this.#queue, topic, key.trim());
    }
  }

  /** Where what is dropped goes, in Dapr's names. */
  async #declareDeadLetters(channel: Channel): Promise<void> {
    const { deletedWhenUnused: autoDelete } = this.#parts.settings;
    const [exchange, queue] = [`dlx-${this.#queue}`, `dlq-${this.#queue}`];
    await channel.assertExchange(exchange, "fanout", { durable: true, autoDelete });
    const lazy = { "x-queue-mode": "lazy", ...this.#lengths() };
    await channel.assertQueue(queue, { durable: true, autoDelete, arguments: lazy });
    await channel.bindQueue(queue, exchange, "");
  }

  /** The broker sends no more than may be at work. */
  get #concurrency(): number {
    const { concurrencyMax, bulkMax = 0 } = this.#request;
    const wanted = Math.max(concurrencyMax, bulkMax);
    return Math.min(this.#parts.settings.prefetchCount || wanted, wanted, prefetchMax);
  }

  #arguments(): Record<string, unknown> {
    const { metadata } = this.#request;
    const type = metadata.queueType || "classic";
    if (type !== "classic" && type !== "quorum") {
      throw new Error(`queueType is ${JSON.stringify(type)}, expected classic or quorum`);
    }
    const maxPriority = wholeNumber(metadata.maxPriority, "maxPriority");
    return {
      "x-queue-type": type,
      ...this.#lengths(),
      ...(this.#parts.settings.enableDeadLetter && { "x-dead-letter-exchange": `dlx-${this.#queue}` }),
      ...(maxPriority !== undefined && { "x-max-priority": Math.min(maxPriority, priorityMax) }),
      ...(parseFlag(metadata.singleActiveConsumer ?? "") && { "x-single-active-consumer": true }),
    };
  }

  /** The subscription's word counts before the component's. */
  #lengths(): Record<string, number> {
    const { maxLen, maxLenBytes } = this.#parts.settings;
    const { metadata } = this.#request;
    const length = wholeNumber(metadata.maxLen, "maxLen") ?? maxLen;
    const bytes = wholeNumber(metadata.maxLenBytes, "maxLenBytes") ?? maxLenBytes;
    return {
      ...(length !== undefined && { "x-max-length": length }),
      ...(bytes !== undefined && { "x-max-length-bytes": bytes }),
    };
  }

  #take(channel: Channel, message: ConsumeMessage): void {
    const { partitionKey } = textsOf(message);
    this.#atWork.start(message, partitionKey, () => this.#handle(channel, message));
  }

  /** Never rejects. What the broker does not hear of, it delivers again. */
  async #handle(channel: Channel, message: ConsumeMessage): Promise<void> {
    const { autoAck, requeueInFailure } = this.#parts.settings;
    if (autoAck) settle(() => channel.ack(message));
    try {
      await this.#handler(this.#messageOf(message));
    } catch {
      if (autoAck) return;
      if (requeueInFailure) await this.#parts.link.pause(requeueMs);
      return settle(() => channel.nack(message, false, requeueInFailure));
    }
    if (!autoAck) settle(() => channel.ack(message));
  }

  #messageOf(message: ConsumeMessage): IncomingMessage {
    const { content, fields, properties } = message;
    const texts = textsOf(message);
    const asked = this.#parts.settings.publishMessagePropertiesToMetadata;
    const count = Number(properties.headers?.["x-delivery-count"] ?? Number.NaN);
    return {
      topic: this.#request.topic,
      data: content,
      contentType: String(properties.contentType ?? ""),
      metadata: asked ? { ...namedProperties(message), ...texts } : texts,
      // Classic queues do not count.
      attempt: fields.redelivered ? (Number.isNaN(count) ? undefined : count + 1) : 1,
    };
  }
}

const prefetchMax = 65_535;

/** Headers that are texts; those of the broker's own are other things. */
function textsOf({ properties: { headers = {} } }: ConsumeMessage): Record<string, string> {
  const texts = Object.entries(headers).filter(
    ([name, value]) => !name.startsWith("x-") && typeof value === "string",
  );
  return Object.fromEntries(texts as [string, string][]);
}

const propertyNames = [
  ...(["contentType", "contentEncoding", "messageId", "correlationId", "type", "timestamp"] as const),
  ...(["appId", "priority", "replyTo", "expiration", "userId"] as const),
];

/** In Dapr's names. */
function namedProperties({ properties }: ConsumeMessage): Record<string, string> {
  const there = propertyNames.filter((name) => (properties[name] ?? "") !== "");
  return Object.fromEntries(
    there.map((name) => [`metadata.${name.toLowerCase()}`, String(properties[name])]),
  );
}
