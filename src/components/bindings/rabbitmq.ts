import type { Channel, ConsumeMessage } from "amqplib";
import type { Binding, BindingEvent, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { duration, flag, number, text } from "../../component/fields.ts";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { RabbitmqLink } from "../clients/rabbitmq.ts";
import { RabbitmqConsumer, settle } from "../clients/rabbitmq-consumer.ts";
import { rabbitmqFields } from "../clients/rabbitmq-fields.ts";
import { propertiesFor } from "../clients/rabbitmq-properties.ts";

const noExclusive = "an exclusive queue ends with its connection, and a lost connection is made anew here";

export default component({
  type: "bindings.rabbitmq",
  version: "v1",
  status: "stable",
  summary: "Messages to a queue of RabbitMQ and from it; every message is confirmed by the broker",
  package: "amqplib",
  metadata: {
    ...rabbitmqFields,
    queueName: text({ description: "the queue", required: true }),
    durable: flag({ description: "the queue outlives the broker", default: false }),
    deleteWhenUnused: flag({
      description: "the broker deletes the queue with its last consumer, and the messages in it",
      default: false,
    }),
    exclusive: flag({ description: "only one connection may use the queue", missing: noExclusive }),
    ttlInSeconds: duration({ description: "how long a message of the queue may wait", min: 1 }),
    maxPriority: number({
      description: "messages may have priorities up to this one; 0: none",
      default: 0,
      min: 0,
      max: 255,
    }),
    prefetchCount: number({
      description: "messages at work at once; 0: 64",
      default: 0,
      min: 0,
      max: 65_535,
    }),
    contentType: text({
      description: "content type of a message that does not say it itself",
      default: "text/plain",
    }),
  },
  async open(options, host): Promise<Binding> {
    return new RabbitmqBinding(await RabbitmqLink.open(options, host), options, host.log);
  },
});

interface Settings {
  queueName: string;
  durable: boolean;
  deleteWhenUnused: boolean;
  ttlInSeconds: number | undefined;
  maxPriority: number;
  prefetchCount: number;
  contentType: string;
}

const prefetchDefault = 64;
/** A message that comes again at once would come for ever. */
const requeueMs = 200;

class RabbitmqBinding implements Binding {
  readonly operations = ["create"];
  readonly #link: RabbitmqLink;
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #atWork = new MessagesAtWork();
  #consumer: RabbitmqConsumer | undefined;

  constructor(link: RabbitmqLink, settings: Settings, log: Log) {
    this.#link = link;
    this.#settings = settings;
    this.#log = log;
  }

  async invoke({ operation, data, metadata }: BindingRequest): Promise<BindingReply | undefined> {
    if (operation !== "create") throw new Error(`invalid operation type: ${operation}. Expected create`);
    const { queueName } = this.#settings;
    const { contentType = this.#settings.contentType, ...rest } = metadata;
    // The queue has the time to live; a message may have a shorter one.
    const { options } = propertiesFor(rest, contentType, { deliveryMode: 2, ttlInSeconds: undefined });
    const run = (channel: Channel) => this.#declare(channel);
    await this.#link.publish({
      ...{ exchange: "", routingKey: queueName, content: data, options },
      prepare: { key: queueName, run },
    });
    return undefined;
  }

  async read(handler: (event: BindingEvent) => Promise<unknown>): Promise<void> {
    const { queueName: queue, prefetchCount } = this.#settings;
    const consumer = new RabbitmqConsumer(this.#link, {
      ...{ queue, prefetch: prefetchCount || prefetchDefault, log: this.#log, details: { queue } },
      declare: (channel) => this.#declare(channel),
      take: (channel, message) =>
        this.#atWork.start(message, undefined, () => this.#handle(channel, message, handler)),
    });
    await consumer.open();
    this.#consumer = consumer;
  }

  async close(): Promise<void> {
    await this.#consumer?.stop();
    await this.#atWork.all();
    await this.#consumer?.close();
    await this.#link.close();
  }

  async #declare(channel: Channel): Promise<void> {
    const { queueName, durable, deleteWhenUnused: autoDelete, ttlInSeconds, maxPriority } = this.#settings;
    const asked = {
      ...(ttlInSeconds !== undefined && { "x-message-ttl": ttlInSeconds }),
      ...(maxPriority > 0 && { "x-max-priority": maxPriority }),
    };
    await channel.assertQueue(queueName, { durable, autoDelete, arguments: asked });
  }

  /** Never rejects: what is not acknowledged comes again. */
  async #handle(
    channel: Channel,
    message: ConsumeMessage,
    handler: (event: BindingEvent) => Promise<unknown>,
  ): Promise<void> {
    try {
      await handler(eventOf(message));
    } catch {
      await this.#link.pause(requeueMs);
      return settle(() => channel.nack(message, false, true));
    }
    settle(() => channel.ack(message));
  }
}

function eventOf({ content, properties }: ConsumeMessage): BindingEvent {
  const headers = Object.entries(properties.headers ?? {});
  const contentType: unknown = properties.contentType;
  return {
    data: content,
    metadata: Object.fromEntries(headers.map(([name, value]) => [name, textOf(value)])),
    ...(typeof contentType === "string" && contentType !== "" && { contentType }),
  };
}

function textOf(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
