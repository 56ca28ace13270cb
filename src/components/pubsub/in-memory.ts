import { component } from "../../component/component.ts";
import type {
  IncomingMessage,
  MessageHandler,
  OutgoingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../component/pubsub.ts";
import type { Log } from "../../telemetry/telemetry.ts";

export default component({
  type: "pubsub.in-memory",
  version: "v1",
  status: "stable",
  summary: "Topics in this process, for its own app: for tests. A failed message is not tried again",
  metadata: {},
  open: async (_options, { log }) => new MemoryPubSub(log),
});

/** Waiting messages of one subscription; beyond it publishing fails, so that a stuck handler can not fill memory. */
const waitingMax = 100_000;

class MemoryPubSub implements PubSub {
  readonly features: ReadonlySet<PubSubFeature> = new Set<PubSubFeature>(["SUBSCRIBE_WILDCARDS"]);
  readonly #log: Log;
  readonly #subscriptions = new Set<MemorySubscription>();

  constructor(log: Log) {
    this.#log = log;
  }

  async publish(message: OutgoingMessage): Promise<void> {
    const matching = [...this.#subscriptions].filter((subscription) => subscription.accepts(message.topic));
    if (matching.some((subscription) => subscription.isFull)) {
      throw new Error(`${waitingMax} messages of topic ${message.topic} are waiting already`);
    }
    if (matching.length === 0) return;
    const { topic, contentType, metadata } = message;
    // The publisher's bytes may be a view of a network buffer that is used again.
    const copy: IncomingMessage = {
      topic,
      contentType,
      metadata: { ...metadata },
      data: message.data.slice(),
    };
    for (const subscription of matching) subscription.push(copy);
  }

  async subscribe(request: SubscribeRequest, handler: MessageHandler): Promise<PubSubSubscription> {
    const subscription = new MemorySubscription(request, handler, this.#log);
    this.#subscriptions.add(subscription);
    return {
      close: async () => {
        this.#subscriptions.delete(subscription);
        await subscription.close();
      },
    };
  }

  async close(): Promise<void> {
    const closing = [...this.#subscriptions].map((subscription) => subscription.close());
    this.#subscriptions.clear();
    await Promise.all(closing);
  }
}

class MemorySubscription {
  readonly #handler: MessageHandler;
  readonly #log: Log;
  readonly #topic: string;
  readonly #pattern: RegExp | undefined;
  readonly #handlingMax: number;
  readonly #handling = new Set<Promise<void>>();
  #waiting: IncomingMessage[] = [];

  constructor({ topic, bulkMax = 1 }: SubscribeRequest, handler: MessageHandler, log: Log) {
    this.#handler = handler;
    this.#log = log;
    this.#topic = topic;
    this.#pattern = topic.includes("*") ? wildcard(topic) : undefined;
    // One at a time keeps the order.
    this.#handlingMax = bulkMax;
  }

  get isFull(): boolean {
    return this.#waiting.length >= waitingMax;
  }

  accepts(topic: string): boolean {
    return this.#pattern ? this.#pattern.test(topic) : topic === this.#topic;
  }

  push(message: IncomingMessage): void {
    this.#waiting.push(message);
    // Publishing returns before the handler starts.
    queueMicrotask(() => this.#startNext());
  }

  async close(): Promise<void> {
    this.#waiting = [];
    await Promise.all(this.#handling);
  }

  #startNext(): void {
    while (this.#handling.size < this.#handlingMax) {
      const message = this.#waiting.shift();
      if (!message) return;
      const handled = this.#handle(message).then(() => {
        this.#handling.delete(handled);
        this.#startNext();
      });
      this.#handling.add(handled);
    }
  }

  async #handle(message: IncomingMessage): Promise<void> {
    try {
      await this.#handler({ ...message, attempt: 1 });
    } catch (error) {
      this.#log.error({ topic: message.topic, error }, "message was not handled and is dropped");
    }
  }
}

/** `*` stands for any text, also none. */
function wildcard(topic: string): RegExp {
  const parts = topic.split("*").map((part) => part.replace(/[$()*+./?[\\\]^{|}-]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}
