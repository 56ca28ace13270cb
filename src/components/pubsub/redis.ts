import { component } from "../../component/component.ts";
import { duration, number } from "../../component/fields.ts";
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
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { openRedis, type RedisConnection, type Reply } from "../clients/redis.ts";
import { redisFields } from "../clients/redis-fields.ts";

const waits = { bareUnitMs: 1, min: 0, max: 86_400_000 };

export default component({
  type: "pubsub.redis",
  version: "v1",
  status: "stable",
  summary: "Streams of Redis or Valkey with consumer groups, in Dapr's layout",
  package: "ioredis",
  metadata: {
    ...redisFields,
    processingTimeout: duration({
      description: "how long a message may be unacknowledged before it is delivered again; 0: never again",
      default: 60_000,
      ...waits,
    }),
    redeliverInterval: duration({
      description: "how often such messages are looked for; 0: never",
      default: 15_000,
      ...waits,
    }),
    queueDepth: number({ description: "messages read at once", default: 100, min: 1, max: 10_000 }),
    concurrency: number({ description: "messages at work at once", default: 10, min: 1, max: 10_000 }),
    maxLenApprox: number({
      description: "length that a stream is cut to, about; 0: never cut",
      default: 0,
      min: 0,
    }),
    streamTTL: duration({ description: "age at which messages may be cut off", bareUnitMs: 1, min: 1_000 }),
  },
  async open(options, host): Promise<PubSub> {
    const redis = await openRedis(options, host);
    const timeoutMs = blockMs + options.readTimeout;
    const openReader = () => openRedis(options, host, { timeoutMs });
    return new RedisPubSub(redis, openReader, options, host);
  },
});

interface Settings {
  processingTimeout: number;
  redeliverInterval: number;
  queueDepth: number;
  concurrency: number;
  maxLenApprox: number;
  streamTTL: number | undefined;
}

interface Surroundings {
  edges: Edges;
  log: Log;
}

/** How long a read waits for messages; the end of a subscription waits for it. */
const blockMs = 500;
const pauseMs = 200;

class RedisPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set();
  readonly #redis: RedisConnection;
  readonly #openReader: () => Promise<RedisConnection>;
  readonly #settings: Settings;
  readonly #surroundings: Surroundings;
  readonly #subscriptions = new OpenSubscriptions();

  constructor(
    redis: RedisConnection,
    openReader: () => Promise<RedisConnection>,
    settings: Settings,
    surroundings: Surroundings,
  ) {
    this.#redis = redis;
    this.#openReader = openReader;
    this.#settings = settings;
    this.#surroundings = surroundings;
  }

  async publish({ topic, data, contentType, metadata }: OutgoingMessage): Promise<void> {
    const fields = ["data", Buffer.from(data), "metadata", JSON.stringify(metadata)];
    const type = contentType === "" ? [] : ["contentType", contentType];
    await this.#redis.write("XADD", topic, ...this.#cut(), "*", ...fields, ...type);
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    await createGroup(this.#redis, request);
    const reader = new StreamReader(request, handler, {
      redis: this.#redis,
      reader: await this.#openReader(),
      settings: this.#settings,
      surroundings: this.#surroundings,
    });
    return this.#subscriptions.add(reader);
  }

  async close(): Promise<void> {
    await this.#subscriptions.close();
    await this.#redis.close();
  }

  #cut(): (string | number)[] {
    const { maxLenApprox, streamTTL } = this.#settings;
    if (maxLenApprox > 0) return ["MAXLEN", "~", maxLenApprox];
    return streamTTL ? ["MINID", "~", this.#surroundings.edges.clock.now() - streamTTL] : [];
  }
}

/** A group begins with the oldest message of the stream, as in Dapr. */
async function createGroup(
  redis: RedisConnection,
  { topic, consumerGroup }: SubscribeRequest,
): Promise<void> {
  await redis.read("XGROUP", "CREATE", topic, consumerGroup, "0", "MKSTREAM").catch((error: unknown) => {
    if (!messageOf(error).startsWith("BUSYGROUP")) throw error;
  });
}

interface ReaderParts {
  redis: RedisConnection;
  /** A connection of its own: its reads block. */
  reader: RedisConnection;
  settings: Settings;
  surroundings: Surroundings;
}

interface Entry {
  id: string;
  message: IncomingMessage;
}

/** One subscription: reads as many messages as may be at work, and at times those that nobody has acknowledged. */
class StreamReader {
  readonly #request: SubscribeRequest;
  readonly #handler: MessageHandler;
  readonly #parts: ReaderParts;
  readonly #atWork = new MessagesAtWork();
  readonly #concurrencyMax: number;
  readonly #running: Promise<void>;
  #redeliverAtMs = 0;
  #isClosing = false;

  constructor(request: SubscribeRequest, handler: MessageHandler, parts: ReaderParts) {
    this.#request = request;
    this.#handler = handler;
    this.#parts = parts;
    const own = Math.max(parts.settings.concurrency, request.bulkMax ?? 0);
    this.#concurrencyMax = Math.min(request.concurrencyMax, own);
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#running;
    await this.#atWork.all();
    await this.#parts.reader.close();
  }

  async #run(): Promise<void> {
    while (!this.#isClosing) {
      const room = this.#concurrencyMax - this.#atWork.size;
      if (room <= 0) {
        await this.#atWork.one();
        continue;
      }
      try {
        const again = await this.#readUnacknowledged(room);
        for (const entry of again) this.#start(entry);
        const left = room - again.length;
        if (left > 0 && !this.#isClosing) for (const entry of await this.#readNew(left)) this.#start(entry);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #readNew(room: number): Promise<Entry[]> {
    const { topic, consumerGroup } = this.#request;
    const count = Math.min(room, this.#parts.settings.queueDepth);
    const reply = await this.#parts.reader.read(
      ...(["XREADGROUP", "GROUP", consumerGroup, consumerGroup] as const),
      ...["COUNT", count, "BLOCK", blockMs, "STREAMS", topic, ">"],
    );
    const [stream] = (reply ?? []) as [Buffer, Reply[]][];
    return (stream?.[1] ?? []).flatMap((one) => this.#entryOf(one, 1));
  }

  async #readUnacknowledged(room: number): Promise<Entry[]> {
    const { processingTimeout, redeliverInterval } = this.#parts.settings;
    const { clock } = this.#parts.surroundings.edges;
    if (processingTimeout === 0 || redeliverInterval === 0 || clock.monotonicMs() < this.#redeliverAtMs)
      return [];
    const { topic, consumerGroup } = this.#request;
    // Those at work here count too: they must not hide the others.
    const count = room + this.#atWork.size;
    const pending = (await this.#parts.redis.read(
      ...(["XPENDING", topic, consumerGroup, "IDLE", processingTimeout, "-", "+", count] as const),
    )) as [Buffer, Buffer, number, number][];
    const attempts = new Map(pending.map(([id, , , times]) => [id.toString(), times + 1]));
    const ids = [...attempts.keys()].filter((id) => !this.#atWork.has(id)).slice(0, room);
    if (ids.length < room) this.#redeliverAtMs = clock.monotonicMs() + redeliverInterval;
    if (ids.length === 0) return [];
    const claimed = (await this.#parts.redis.write(
      ...(["XCLAIM", topic, consumerGroup, consumerGroup, processingTimeout] as const),
      ...ids,
    )) as Reply[];
    return claimed.flatMap((one) => this.#entryOf(one, (id) => attempts.get(id)));
  }

  #entryOf(reply: Reply, attempt: number | ((id: string) => number | undefined)): Entry[] {
    // The stream was cut: its message is gone, an older server still counts it as unacknowledged.
    if (!Array.isArray(reply) || !Array.isArray(reply[1])) return [];
    const id = String(reply[0]);
    const fields = new Map<string, Buffer>();
    const texts = reply[1] as Buffer[];
    for (let at = 0; at + 1 < texts.length; at += 2) fields.set(String(texts[at]), texts[at + 1] as Buffer);
    const message = {
      topic: this.#request.topic,
      data: fields.get("data") ?? new Uint8Array(),
      contentType: fields.get("contentType")?.toString() ?? "",
      metadata: metadataOf(fields.get("metadata")),
      attempt: typeof attempt === "number" ? attempt : attempt(id),
    };
    return [{ id, message }];
  }

  #start(entry: Entry): void {
    this.#atWork.start(entry.id, entry.message.metadata.partitionKey, () => this.#handle(entry));
  }

  /** Never rejects: what is not acknowledged comes again after the processing timeout. */
  async #handle({ id, message }: Entry): Promise<void> {
    const { topic, consumerGroup } = this.#request;
    try {
      await this.#handler(message);
    } catch {
      return;
    }
    try {
      await this.#parts.redis.read("XACK", topic, consumerGroup, id);
    } catch (error) {
      this.#parts.surroundings.log.warn(
        { error, topic },
        "a message could not be acknowledged and comes again",
      );
    }
  }

  /** The server is away, or has lost the stream. */
  async #recover(error: unknown): Promise<void> {
    if (this.#isClosing) return;
    const { redis, surroundings } = this.#parts;
    const { topic } = this.#request;
    try {
      if (messageOf(error).startsWith("NOGROUP")) return await createGroup(redis, this.#request);
    } catch {
      // The next read fails too, and comes here.
    }
    surroundings.log.warn({ error, topic }, "messages can not be read; trying again");
    await new Promise<void>((done) => void surroundings.edges.clock.setTimer(pauseMs, done));
  }
}

function metadataOf(text: Buffer | undefined): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text?.toString() || "{}");
    const entries = typeof value === "object" && value !== null ? Object.entries(value) : [];
    return Object.fromEntries(entries.map(([name, one]) => [name, String(one)]));
  } catch {
    // Somebody else's message.
    return {};
  }
}
