import type { MessageHandler } from "../../component/pubsub.ts";
import { type ClockTimer, sleep } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { Delivery, Store } from "../store/store.ts";
import { AckBatch } from "./ack-batch.ts";
import { incomingMessage } from "./message-headers.ts";

export interface TopicConsumerOptions {
  store: Store;
  edges: Edges;
  log: Log;
  /** How long a claimed message is ours without a word from us. */
  leaseMs: number;
  backOffMs: { first: number; max: number };
}

export interface Consumption {
  /** As the subscriber calls it. */
  topic: string;
  storeTopic: string;
  consumerGroup: string;
  concurrencyMax: number;
}

/** Longest wait of one claim; the store wakes it earlier when a message comes. */
const claimWaitMs = 30_000;
/** Wait before a claim is tried again after the store failed. */
const claimRetryMs = 1_000;
/** Handlers faster than this get messages claimed ahead; slower ones would only keep them from other consumers. */
const fastHandlerMs = 100;

/**
 * One subscription: claims messages (ahead of fast handlers as many again as may be handled at once), extends their
 * leases while they wait or are handled, acknowledges in batches, gives failed ones back with a growing delay.
 */
export class TopicConsumer {
  readonly #consumption: Consumption;
  readonly #handler: MessageHandler;
  readonly #options: TopicConsumerOptions;
  readonly #owner: string;
  readonly #acks: AckBatch;
  readonly #stop = new AbortController();
  /** Claimed, not yet in the handler. */
  #waiting: Delivery[] = [];
  readonly #handling = new Set<Delivery>();
  readonly #settling = new Set<Promise<void>>();
  #claiming: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #extendTimer: ClockTimer | undefined;
  #closed: Promise<void> | undefined;
  /** Moving mean of what a handler takes. */
  #handlerMs = fastHandlerMs;

  constructor(consumption: Consumption, handler: MessageHandler, options: TopicConsumerOptions) {
    this.#consumption = consumption;
    this.#handler = handler;
    this.#options = options;
    this.#owner = options.edges.random.uuid();
    this.#acks = new AckBatch(options.store, options.log);
  }

  start(): void {
    this.#claiming = this.#claimUntilStopped();
    this.#scheduleExtension();
  }

  /** Gives back what no handler has seen, waits for the handlers at work and for the last acknowledgements. */
  close(): Promise<void> {
    this.#closed ??= this.#drain();
    return this.#closed;
  }

  async #drain(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#claiming;
    const untried = this.#waiting;
    this.#waiting = [];
    await Promise.all(untried.map((delivery) => this.#giveBack(delivery, 0, { untried: true })));
    await Promise.all(this.#settling);
    this.#extendTimer?.cancel();
    await this.#acks.flush();
  }

  async #claimUntilStopped(): Promise<void> {
    const { store, edges, log, leaseMs } = this.#options;
    const { storeTopic: topic, consumerGroup: group } = this.#consumption;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (!this.#isHungry()) {
        await this.#untilHungry();
        continue;
      }
      try {
        const max = this.#room();
        const claim = { topic, group, owner: this.#owner, max, leaseMs, waitMs: claimWaitMs, signal };
        this.#waiting.push(...(await store.claim(claim)));
        this.#startHandlers();
      } catch (error) {
        if (signal.aborted) return;
        log.error({ error, topic: this.#consumption.topic }, "messages could not be claimed, trying again");
        await sleep(edges.clock, claimRetryMs, signal);
      }
    }
  }

  /** Unacknowledged messages count too, so that a slow store holds the claims back. */
  #room(): number {
    const { concurrencyMax } = this.#consumption;
    const held = this.#waiting.length + this.#handling.size + this.#acks.pending;
    return (this.#isFast() ? concurrencyMax * 2 : concurrencyMax) - held;
  }

  /** Fast handlers are fed by the batch: a claim is a write. */
  #isHungry(): boolean {
    return this.#room() >= (this.#isFast() ? this.#consumption.concurrencyMax : 1);
  }

  #isFast(): boolean {
    return this.#handlerMs < fastHandlerMs;
  }

  #untilHungry(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }

  #startHandlers(): void {
    if (this.#stop.signal.aborted) return;
    while (this.#handling.size < this.#consumption.concurrencyMax) {
      const delivery = this.#waiting.shift();
      if (!delivery) break;
      this.#handling.add(delivery);
      const settled = this.#handle(delivery).finally(() => {
        this.#settling.delete(settled);
        if (this.#isHungry()) this.#wake?.();
      });
      this.#settling.add(settled);
    }
  }

  async #handle(delivery: Delivery): Promise<void> {
    const error = await this.#callHandler(delivery);
    if (error === undefined) {
      const acknowledged = this.#acks.add(delivery);
      this.#release(delivery);
      await acknowledged;
      return;
    }
    const delayMs = this.#backOff(delivery.attempt);
    const { topic } = this.#consumption;
    this.#options.log.debug({ topic, attempt: delivery.attempt, delayMs, error }, "message is given back");
    await this.#giveBack(delivery, delayMs);
    this.#release(delivery);
  }

  /** The handler's place is free: the next message starts. */
  #release(delivery: Delivery): void {
    this.#handling.delete(delivery);
    this.#startHandlers();
  }

  async #callHandler(delivery: Delivery): Promise<unknown> {
    const { clock } = this.#options.edges;
    const startMs = clock.monotonicMs();
    try {
      await this.#handler(incomingMessage(this.#consumption.topic, delivery));
      return undefined;
    } catch (error) {
      return error ?? new Error("the handler failed without an error");
    } finally {
      this.#handlerMs += (clock.monotonicMs() - startMs - this.#handlerMs) / 8;
    }
  }

  async #giveBack(delivery: Delivery, delayMs: number, options?: { untried: boolean }): Promise<void> {
    try {
      await this.#options.store.nack(delivery, delayMs, options);
    } catch (error) {
      // The lease runs out by itself, then the message comes again.
      this.#options.log.warn({ error, topic: this.#consumption.topic }, "message could not be given back");
    }
  }

  /** Full jitter on the upper half keeps redeliveries of one failure from coming back all at once. */
  #backOff(attempt: number): number {
    const { first, max } = this.#options.backOffMs;
    const delayMs = Math.min(first * 2 ** Math.min(attempt - 1, 30), max);
    return Math.round(delayMs / 2 + (this.#options.edges.random.next() * delayMs) / 2);
  }

  #scheduleExtension(): void {
    const { store, edges, log, leaseMs } = this.#options;
    const extend = async () => {
      const held = [...this.#waiting, ...this.#handling];
      try {
        if (held.length > 0) await store.extend(held, leaseMs);
      } catch (error) {
        log.warn({ error, topic: this.#consumption.topic }, "leases of messages could not be extended");
      }
      if (!this.#stop.signal.aborted || this.#handling.size > 0) this.#scheduleExtension();
    };
    this.#extendTimer = edges.clock.setTimer(leaseMs / 3, () => void extend(), { background: true });
  }
}
