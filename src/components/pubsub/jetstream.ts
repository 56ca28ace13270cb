import type { Consumer, ConsumerConfig, JsMsg, StreamInfo } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { component } from "../../component/component.ts";
import { choice, duration, flag, list, number, text } from "../../component/fields.ts";
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
import { parseDuration } from "../../kit/duration.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { NatsLink } from "../clients/nats.ts";
import { natsFields } from "../clients/nats-fields.ts";
import { NatsPull } from "../clients/nats-pull.ts";

export default component({
  type: "pubsub.jetstream",
  version: "v1",
  status: "beta",
  summary: "Streams of NATS with durable consumers; every message is acknowledged by the stream",
  package: "@nats-io/jetstream",
  metadata: {
    ...natsFields,
    streamName: text({
      description: "the stream of all topics; by default the one that has the topic's subject",
    }),
    createStreams: flag({
      description: "make a stream for a topic that has none, and take a topic into streamName",
      default: false,
    }),
    durableName: text({
      description: "name of the consumers, instead of the consumer group's; the topic is added",
    }),
    queueGroupName: text({ description: "an older name of the consumer group" }),
    startSequence: number({
      description: "with deliverPolicy sequence: the first message of a new consumer",
      min: 1,
    }),
    startTime: number({ description: "with deliverPolicy time: the same in seconds since 1970", min: 0 }),
    deliverPolicy: choice(["all", "last", "new", "sequence", "time"], {
      description: "with which message a new consumer begins",
      default: "all",
    }),
    ackPolicy: choice(["explicit", "all", "none"], {
      description: "how messages are acknowledged",
      default: "explicit",
    }),
    ackWait: duration({
      description: "how long the server waits for a sign of life of a message's handler",
      min: 1_000,
    }),
    maxDeliver: number({ description: "tries of a message at most; by default no end", min: 1 }),
    backOff: list({ description: "waits before the second, third … try of a message, such as 1s, 5s, 30s" }),
    maxAckPending: number({ description: "messages of a consumer at work at most, in all runtimes", min: 1 }),
    replicas: number({ description: "copies of a consumer, and of a stream that is made", min: 1, max: 5 }),
    memoryStorage: flag({ description: "the state of consumers is in memory only", default: false }),
    rateLimit: number({ description: "bits a second", missing: "messages are pulled as the app takes them" }),
    flowControl: flag({
      description: "taken as true: messages are pulled as the app takes them",
      default: true,
    }),
    heartbeat: duration({
      description: "taken as given: pulled messages have a heartbeat of their own",
      min: 1,
    }),
  },
  async open(options, host): Promise<PubSub> {
    const backOffMs = options.backOff?.map((one) => backOffStep(one)) ?? [];
    return new JetstreamPubSub(await NatsLink.open(options, host), { ...options, backOffMs }, host);
  },
});

function backOffStep(step: string): number {
  try {
    return parseDuration(step);
  } catch (error) {
    throw new Error(`backOff has ${JSON.stringify(step)}, which is no duration`, { cause: error });
  }
}

interface Settings {
  timeout: number;
  streamName: string | undefined;
  createStreams: boolean;
  durableName: string | undefined;
  queueGroupName: string | undefined;
  startSequence: number | undefined;
  startTime: number | undefined;
  deliverPolicy: "all" | "last" | "new" | "sequence" | "time";
  ackPolicy: "explicit" | "all" | "none";
  ackWait: number | undefined;
  maxDeliver: number | undefined;
  backOffMs: readonly number[];
  maxAckPending: number | undefined;
  replicas: number | undefined;
  memoryStorage: boolean;
}

interface Surroundings {
  edges: Edges;
  log: Log;
}

const metadataHeader = "Mecha-Metadata";
const typeHeader = "Content-Type";
const redeliverMs = 200;
const ackWaitMs = 30_000;

class JetstreamPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set();
  readonly #link: NatsLink;
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #subscriptions = new OpenSubscriptions();
  /** Topics whose stream is known to be there. */
  readonly #streams = new Map<string, Promise<string>>();

  constructor(link: NatsLink, settings: Settings, surroundings: Surroundings) {
    this.#link = link;
    this.#settings = settings;
    this.#surroundings = surroundings;
  }

  async publish({ topic, data, contentType, metadata }: OutgoingMessage): Promise<void> {
    if (this.#settings.createStreams) await this.#streamOf(topic);
    const lines = this.#link.headers();
    if (contentType !== "") lines.set(typeHeader, contentType);
    if (Object.keys(metadata).length > 0) lines.set(metadataHeader, asciiJson(metadata));
    const msgID = contentType.startsWith("application/cloudevents+json") ? eventId(data) : undefined;
    const options = { headers: lines, ...(msgID && { msgID }) };
    try {
      await this.#link.publish(topic, data, options);
    } catch (error) {
      this.#streams.delete(topic);
      throw unheard.includes((error as Error).name) ? noStream(topic, error) : error;
    }
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const stream = await this.#streamOf(request.topic);
    const subscription = new Subscription(request, handler, {
      ...{ link: this.#link, settings: this.#settings, surroundings: this.#surroundings, stream },
    });
    await subscription.open();
    return this.#subscriptions.add(subscription);
  }

  async close(): Promise<void> {
    await this.#subscriptions.close();
    await this.#link.close();
  }

  #streamOf(topic: string): Promise<string> {
    let found = this.#streams.get(topic);
    if (found === undefined) {
      found = this.#findStream(topic);
      this.#streams.set(topic, found);
      found.catch(() => this.#streams.delete(topic));
    }
    return found;
  }

  async #findStream(topic: string): Promise<string> {
    const { streamName, createStreams, replicas } = this.#settings;
    const { manager } = this.#link;
    if (streamName === undefined) {
      const name = await this.#link.ask(() => manager.streams.find(topic)).catch(() => undefined);
      if (name !== undefined) return name;
      if (!createStreams) throw noStream(topic);
    }
    const name = streamName ?? subjectToken(topic);
    const known = await this.#link.ask(() => manager.streams.info(name)).catch(noneIfUnknown);
    if (!createStreams) {
      if (known === undefined) throw noStream(topic);
      return name;
    }
    if (known === undefined) {
      const config = { name, subjects: [topic], ...(replicas && { num_replicas: replicas }) };
      await this.#link.ask(() => manager.streams.add(config));
    } else if (!covers(known, topic)) {
      const subjects = [...(known.config.subjects ?? []), topic];
      await this.#link.ask(() => manager.streams.update(name, { subjects }));
    }
    return name;
  }
}

function noneIfUnknown(error: unknown): undefined {
  if ((error as { code?: number }).code === streamNotFound || /not found/.test(messageOf(error)))
    return undefined;
  throw error;
}

const streamNotFound = 10_059;
/** What the library says when no stream listens to a subject. */
const unheard = ["NoRespondersError", "JetStreamNotEnabled"];

function noStream(topic: string, cause?: unknown): Error {
  const hint = 'make one (`nats stream add`), or set createStreams: "true"';
  return new Error(`no stream of NATS has the subject ${JSON.stringify(topic)}: ${hint}`, { cause });
}

/** As NATS matches them: `*` is one word, `>` the rest. */
function covers({ config: { subjects = [] } }: StreamInfo, topic: string): boolean {
  const words = topic.split(".");
  return subjects.some((subject) => {
    const pattern = subject.split(".");
    const isOpen = pattern.at(-1) === ">";
    if (isOpen ? words.length < pattern.length : words.length !== pattern.length) return false;
    return pattern.every((word, at) => word === ">" || word === "*" || word === words[at]);
  });
}

/** Names of streams and consumers have no dots, blanks or wildcards. */
function subjectToken(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]/g, "_");
}

/** Headers are ASCII. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** In envelopes of mecha the id comes after a few texts: what follows need not be read. */
const earlyId = /^\{(?:"\w+":"[^"\\]*",)*?"id":"([ !#-[\]-~]+)"/;
const headBytes = 512;

/** By the event's id the stream knows one that is published twice. */
function eventId(data: Uint8Array): string | undefined {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const early = earlyId.exec(bytes.toString("latin1", 0, headBytes))?.[1];
  if (early !== undefined) return early;
  try {
    const { id } = JSON.parse(bytes.toString()) as { id?: unknown };
    return typeof id === "string" && id !== "" ? id : undefined;
  } catch {
    return undefined;
  }
}

interface Parts {
  link: NatsLink;
  settings: Settings;
  surroundings: Surroundings;
  stream: string;
}

/** One durable consumer of a topic. */
class Subscription {
  readonly #request: SubscribeRequest;
  readonly #handler: MessageHandler;
  readonly #parts: Parts;
  readonly #name: string;
  readonly #pull: NatsPull;

  constructor(request: SubscribeRequest, handler: MessageHandler, parts: Parts) {
    this.#request = request;
    this.#handler = handler;
    this.#parts = parts;
    const { durableName, queueGroupName, ackPolicy, ackWait, backOffMs } = parts.settings;
    this.#name = subjectToken(`${durableName ?? queueGroupName ?? request.consumerGroup}-${request.topic}`);
    this.#pull = new NatsPull({
      surroundings: parts.surroundings,
      topic: request.topic,
      concurrencyMax: Math.max(request.concurrencyMax, request.bulkMax ?? 0),
      signEveryMs: ackPolicy === "none" ? 0 : Math.min(ackWait ?? ackWaitMs, ...backOffMs) / 2,
      consumer: () => this.#consumer(),
      begin: (message) => {
        const incoming = incomingOf(message, request.topic);
        const { partitionKey } = incoming.metadata;
        return { partitionKey, handle: () => this.#handle(message, incoming) };
      },
    });
  }

  open(): Promise<void> {
    return this.#pull.open();
  }

  close(): Promise<void> {
    return this.#pull.close();
  }

  async #consumer(): Promise<Consumer> {
    const { link, stream } = this.#parts;
    const config = consumerConfig(this.#name, this.#request.topic, this.#parts.settings);
    await link.ask(async () => {
      const known = await link.manager.consumers.info(stream, this.#name).catch(noneIfUnknown);
      if (known?.config.deliver_subject !== undefined) {
        throw new Error(`the consumer ${this.#name} is there already and pushes its messages: name another`);
      }
      // One that is there keeps its place in the stream, and how it began.
      if (known === undefined) await link.manager.consumers.add(stream, config);
      else await link.manager.consumers.update(stream, this.#name, changeable(config));
    });
    return link.ask(() => link.jetstream.consumers.get(stream, this.#name));
  }

  /** Never rejects: what is not acknowledged comes again. */
  async #handle(message: JsMsg, incoming: IncomingMessage): Promise<void> {
    const { ackPolicy, ackWait, backOffMs } = this.#parts.settings;
    try {
      await this.#handler(incoming);
    } catch {
      if (ackPolicy === "none") return;
      const step = backOffMs[Math.min((incoming.attempt ?? 1) - 1, backOffMs.length - 1)];
      return message.nak(step ?? ackWait ?? redeliverMs);
    }
    if (ackPolicy === "none") return;
    await this.#parts.link.turn();
    message.ack();
  }
}

function consumerConfig(name: string, topic: string, settings: Settings): ConsumerConfig {
  const { deliverPolicy, startSequence, startTime, ackPolicy, ackWait, backOffMs } = settings;
  const policies = {
    ...{ all: "all", last: "last", new: "new" },
    sequence: "by_start_sequence",
    time: "by_start_time",
  };
  return {
    durable_name: name,
    filter_subject: topic,
    ack_policy: ackPolicy,
    deliver_policy: policies[deliverPolicy],
    ack_wait: nanosecondsOf(ackWait ?? ackWaitMs),
    ...(deliverPolicy === "sequence" && { opt_start_seq: startSequence ?? 1 }),
    ...(deliverPolicy === "time" && { opt_start_time: new Date((startTime ?? 0) * 1000).toISOString() }),
    ...(settings.maxDeliver !== undefined && { max_deliver: settings.maxDeliver }),
    ...(backOffMs.length > 0 && { backoff: backOffMs.map(nanosecondsOf) }),
    ...(settings.maxAckPending !== undefined && { max_ack_pending: settings.maxAckPending }),
    ...(settings.replicas !== undefined && { num_replicas: settings.replicas }),
    ...(settings.memoryStorage && { mem_storage: true }),
  } as ConsumerConfig;
}

function nanosecondsOf(ms: number): number {
  return ms * 1_000_000;
}

/** What the server lets be changed of a consumer that is there. */
function changeable({
  ack_wait,
  max_deliver,
  max_ack_pending,
  backoff,
}: ConsumerConfig): Partial<ConsumerConfig> {
  return {
    ack_wait,
    ...(max_deliver !== undefined && { max_deliver }),
    ...(max_ack_pending !== undefined && { max_ack_pending }),
    ...(backoff !== undefined && { backoff }),
  };
}

function incomingOf({ data, headers, info, subject }: JsMsg, topic: string): IncomingMessage {
  return {
    topic: topic.includes("*") || topic.endsWith(">") ? subject : topic,
    data,
    contentType: headers?.get(typeHeader) ?? "",
    metadata: metadataOf(headers),
    attempt: info.deliveryCount,
  };
}

function metadataOf(headers: MsgHdrs | undefined): Record<string, string> {
  try {
    const value: unknown = JSON.parse(headers?.get(metadataHeader) || "{}");
    const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
    return Object.fromEntries(entries.map(([name, one]) => [name, String(one)]));
  } catch {
    // Somebody else's message.
    return {};
  }
}
