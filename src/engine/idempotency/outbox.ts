import type { IncomingMessage } from "../../component/pubsub.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Body, HttpReply, HttpRequest } from "../../net/http1/types.ts";
import type { Invoker } from "../../peer/invoker.ts";
import type { Log, Telemetry } from "../../telemetry/telemetry.ts";
import { TopicConsumer } from "../defaults/topic-consumer.ts";
import type { Store } from "../store/store.ts";
import { callOf, type OutboxCall } from "./outbox-message.ts";

export interface OutboxOptions {
  store: Store;
  edges: Edges;
  telemetry: Telemetry;
  topic: string;
  invoker: () => Pick<Invoker, "invokeHttp">;
}

const group = "relay";
const concurrencyMax = 32;
const leaseMs = 30_000;
const backOffMs = { first: 200, max: 30_000 };
const callTimeoutMs = 60_000;

/** Makes the calls that effects asked for, each until it is answered: at least once, with one key for all tries. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #log: Log;
  #consumer: TopicConsumer | undefined;
  #starting: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#log = options.telemetry.log.scope("dapr.runtime.outbox");
  }

  /** Whether calls wait from before. */
  async hasCalls(): Promise<boolean> {
    const [stats] = await this.#options.store.topicStats(this.#options.topic);
    return stats?.groups.some(({ pending, inFlight }) => pending + inFlight > 0) ?? false;
  }

  start(): Promise<void> {
    this.#starting ??= this.#open();
    return this.#starting;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#starting?.catch(() => undefined);
    await this.#consumer?.close();
  }

  async #open(): Promise<void> {
    const { store, edges, topic } = this.#options;
    await store.ensureGroup(topic, group, "earliest");
    if (this.#isClosed) return;
    this.#consumer = new TopicConsumer(
      { topic, storeTopic: topic, consumerGroup: group, concurrencyMax },
      (message) => this.#relay(message),
      { store, edges, log: this.#log, leaseMs, backOffMs },
    );
    this.#consumer.start();
  }

  /** Resolves when the call is over, rejects to try it again. */
  async #relay(message: IncomingMessage): Promise<void> {
    const call = callOf(message.metadata);
    const where = `${call.method} ${call.id}${call.path}`;
    if (message.expired) return this.#log.error({ key: call.key }, `the call ${where} was never answered`);
    const status = await this.#call(call, message.data);
    if (status < 400) return;
    // What may pass is tried again; any other refusal is final.
    if ([404, 408, 409, 429].includes(status) || status >= 500)
      throw new Error(`${where} answered ${status}`);
    this.#log.error({ key: call.key }, `the call ${where} was refused with ${status} and is given up`);
  }

  async #call({ key, id, path, method, headers }: OutboxCall, body: Uint8Array): Promise<number> {
    const { edges, telemetry, invoker } = this.#options;
    const span = telemetry.tracer.start(`outbox/${id}`, "client", undefined);
    const late = new AbortController();
    const timer = edges.clock.setTimer(callTimeoutMs, () => late.abort(new Error("no answer in time")));
    try {
      const lines = [...Object.entries(headers).flat(), "Idempotency-Key", key];
      const request = requestOf({ method, path, lines, body, signal: late.signal });
      const reply = await invoker().invokeHttp({ id, target: path, request, span });
      await drain(reply);
      span.end();
      return reply.status;
    } catch (error) {
      span.end({ code: 2, message: (error as Error).message });
      throw error;
    } finally {
      timer.cancel();
    }
  }
}

function requestOf(parts: {
  method: string;
  path: string;
  lines: string[];
  body: Uint8Array;
  signal: AbortSignal;
}): HttpRequest {
  const { method, path, lines, body, signal } = parts;
  return {
    method,
    target: path,
    rawHeaders: lines,
    header(lowerName) {
      const at = lines.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === lowerName);
      return at < 0 ? undefined : lines[at + 1];
    },
    body: bytesBody(body),
    remoteAddress: "",
    signal,
  };
}

function bytesBody(bytes: Uint8Array): Body {
  return {
    size: bytes.length,
    bytes: () => bytes,
    async *[Symbol.asyncIterator]() {
      if (bytes.length > 0) yield bytes;
    },
  };
}

async function drain({ body }: HttpReply): Promise<void> {
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) return;
  for await (const _ of body);
}
