import type { IncomingMessage, MessageHandler, SubscribeRequest } from "../../component/pubsub.ts";
import { NoAnswer } from "../../component/within-time.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { PulsarLink, PulsarReply, PulsarSocket } from "./pulsar.ts";

export interface ConsumerParts {
  link: PulsarLink;
  log: Log;
  request: SubscribeRequest;
  handler: MessageHandler;
  concurrencyMax: number;
  parameters: Record<string, string>;
}

interface Received {
  socket: PulsarSocket;
  messageId: string;
  key: string | undefined;
  message: IncomingMessage;
}

/** One subscription, by a connection that is made anew when it is lost. */
export class PulsarConsumer {
  readonly #parts: ConsumerParts;
  readonly #waiting: Received[] = [];
  readonly #handling = new Set<Promise<void>>();
  /** Keys at work: one message of a key at a time. */
  readonly #keys = new Set<string>();
  readonly #closing = new AbortController();
  #socket: PulsarSocket | undefined;
  #running: Promise<void> | undefined;

  constructor(parts: ConsumerParts) {
    this.#parts = parts;
  }

  /** Rejects when the broker does not take the subscription. */
  async open(): Promise<void> {
    const { topic, consumerGroup } = this.#parts.request;
    try {
      this.#socket = await this.#connect();
    } catch (error) {
      const text = `can not subscribe to the topic ${topic} as ${consumerGroup}: ${(error as Error).message}`;
      throw new Error(text, { cause: error });
    }
    this.#running = this.#keep(this.#socket);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    // The broker gives what was not begun to others.
    this.#waiting.length = 0;
    await Promise.all(this.#handling);
    await this.#socket?.close();
    await this.#running;
  }

  async #keep(first: PulsarSocket): Promise<void> {
    const { link, log, request } = this.#parts;
    const { topic } = request;
    const { signal } = this.#closing;
    let socket: PulsarSocket | undefined = first;
    for (let tries = 0; ; ) {
      const error = await socket?.ended;
      if (signal.aborted) return;
      if (socket !== undefined) log.warn({ error, topic }, "a consumer of pulsar was lost");
      // What was not answered comes again: not while it is at work.
      this.#waiting.length = 0;
      await Promise.all(this.#handling);
      await link.pause(link.pauseMs(tries++), signal);
      if (signal.aborted) return;
      socket = await this.#connect().catch((reason: unknown) => {
        log.warn({ error: reason, topic }, "messages can not be consumed; trying again");
        return undefined;
      });
      if (socket === undefined) continue;
      this.#socket = socket;
      tries = 0;
      if (signal.aborted) return await socket.close();
    }
  }

  async #connect(): Promise<PulsarSocket> {
    const { link, request, parameters } = this.#parts;
    const socket = await link.connect("consumer", request.topic, { rest: request.consumerGroup, parameters });
    socket.onReply((reply) => this.#take(socket, reply));
    void this.#watch(socket);
    return socket;
  }

  /** A half-open connection looks like a topic without messages: the broker is asked something at times. */
  async #watch(socket: PulsarSocket): Promise<void> {
    const { link } = this.#parts;
    let isOver = false;
    const over = new AbortController();
    void socket.ended.then(() => {
      isOver = true;
      over.abort();
    });
    while (!isOver) {
      await link.pause(link.timeoutMs / 3, over.signal);
      if (isOver) return;
      if (socket.silentMs > link.timeoutMs)
        return socket.drop(new NoAnswer(`silent for ${Math.round(socket.silentMs)} ms`));
      socket.send({ type: "isEndOfTopic" });
    }
  }

  #take(socket: PulsarSocket, reply: PulsarReply): void {
    const { messageId, payload, properties, key, redeliveryCount } = reply;
    if (typeof messageId !== "string" || this.#closing.signal.aborted) return;
    const metadata = textsOf(properties);
    const message: IncomingMessage = {
      topic: this.#parts.request.topic,
      data: Buffer.from(String(payload ?? ""), "base64"),
      contentType: metadata["content-type"] ?? "",
      metadata,
      attempt: Number(redeliveryCount ?? 0) + 1,
    };
    this.#waiting.push({ socket, messageId, key: typeof key === "string" ? key : undefined, message });
    this.#begin();
  }

  /** The broker sends no more than may be at work, so few wait. */
  #begin(): void {
    for (let at = 0; at < this.#waiting.length && this.#handling.size < this.#parts.concurrencyMax; ) {
      const next = this.#waiting[at];
      if (next === undefined || (next.key !== undefined && this.#keys.has(next.key))) {
        at++;
        continue;
      }
      this.#waiting.splice(at, 1);
      const { key } = next;
      if (key !== undefined) this.#keys.add(key);
      const work = this.#handle(next).then(() => {
        this.#handling.delete(work);
        if (key !== undefined) this.#keys.delete(key);
        this.#begin();
      });
      this.#handling.add(work);
    }
  }

  /** Never rejects. What the broker does not hear of, it delivers again. */
  async #handle({ socket, messageId, message }: Received): Promise<void> {
    let isDone = true;
    try {
      await this.#parts.handler(message);
    } catch {
      isDone = false;
    }
    socket.send(isDone ? { messageId } : { type: "negativeAcknowledge", messageId });
  }
}

function textsOf(properties: unknown): Record<string, string> {
  if (typeof properties !== "object" || properties === null) return {};
  return Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, String(value)]));
}
