import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer } from "../../component/within-time.ts";
import type { PulsarLink, PulsarReply, PulsarSocket } from "./pulsar.ts";

export interface PulsarMessage {
  payload: string;
  properties: Record<string, string>;
  key?: string;
  deliverAt?: number;
  deliverAfterMs?: number;
}

interface Waiting {
  done(): void;
  failed(error: Error): void;
}

const waitingMax = 5_000;

/** Publishes to one topic, by a connection that is made anew when it is lost. */
export class PulsarProducer {
  readonly #link: PulsarLink;
  readonly #topic: string;
  readonly #parameters: Record<string, string>;
  /** What was sent and is not answered, by its number. */
  readonly #sent = new Map<string, Waiting>();
  #socket: Promise<PulsarSocket> | undefined;
  #number = 0;
  #waiting = 0;
  #failures = 0;

  constructor(link: PulsarLink, topic: string, parameters: Record<string, string>) {
    this.#link = link;
    this.#topic = topic;
    this.#parameters = parameters;
  }

  get isIdle(): boolean {
    return this.#waiting === 0;
  }

  /** Resolves when the broker has it. */
  async publish(message: PulsarMessage): Promise<void> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many messages wait already", "undone");
    this.#waiting++;
    try {
      await this.#confirmed(await this.#untilConnected(), message);
    } finally {
      this.#waiting--;
    }
  }

  async close(): Promise<void> {
    const opening = this.#socket;
    this.#socket = undefined;
    const socket = await opening?.catch(() => undefined);
    await socket?.close();
  }

  async #untilConnected(): Promise<PulsarSocket> {
    const { clock } = this.#link.edges;
    const endMs = clock.monotonicMs() + this.#link.timeoutMs;
    for (;;) {
      if (this.#link.closed.aborted) throw this.#unavailable("the component is closed", "undone");
      try {
        this.#socket ??= this.#open();
        return await this.#socket;
      } catch (error) {
        const pauseMs = this.#link.pauseMs(this.#failures++);
        const text = error instanceof Error ? error.message : String(error);
        if (clock.monotonicMs() + pauseMs >= endMs) throw this.#unavailable(text, "undone", error);
        await this.#link.pause(pauseMs);
      }
    }
  }

  async #open(): Promise<PulsarSocket> {
    try {
      const socket = await this.#link.connect("producer", this.#topic, { parameters: this.#parameters });
      socket.onReply((reply) => this.#answer(reply));
      const own = this.#sent;
      void socket.ended.then((error) => {
        this.#socket = undefined;
        for (const { failed } of own.values()) failed(this.#unavailable(error.message, "unknown", error));
        own.clear();
      });
      this.#failures = 0;
      return socket;
    } catch (error) {
      this.#socket = undefined;
      throw error;
    }
  }

  async #confirmed(socket: PulsarSocket, message: PulsarMessage): Promise<void> {
    const { promise, resolve: done, reject: failed } = Promise.withResolvers<void>();
    const context = String(++this.#number);
    this.#sent.set(context, { done, failed });
    const { timeoutMs, edges } = this.#link;
    const timer = edges.clock.setTimer(timeoutMs, () =>
      socket.drop(new NoAnswer(`no answer within ${timeoutMs} ms`)),
    );
    try {
      socket.send({ ...message, context });
      await promise;
    } finally {
      timer.cancel();
      this.#sent.delete(context);
    }
  }

  #answer({ context, result, errorMsg }: PulsarReply): void {
    const waiting = this.#sent.get(String(context));
    if (waiting === undefined) return;
    if (result === "ok") {
      waiting.done();
      return;
    }
    const text = `${errorMsg ?? result}`;
    // Those of the message itself; what the broker says of itself may have been done all the same.
    const isOfMessage = result === "send-error:1" || result === "send-error:2";
    waiting.failed(
      isOfMessage ? new Error(`pulsar refused it: ${text}`) : this.#unavailable(text, "unknown"),
    );
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`pulsar at ${this.#link.where}: ${text}`, outcome, cause);
  }
}
