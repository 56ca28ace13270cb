import type { Channel, ConsumeMessage } from "amqplib";
import { messageOf } from "../../kit/message-of.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import type { RabbitmqLink } from "./rabbitmq.ts";

export interface ConsumerSettings {
  queue: string;
  /** Messages that the broker sends ahead of their acknowledgements. */
  prefetch: number;
  log: Log;
  /** What the log says beside a loss. */
  details: Record<string, string>;
  /** Declares what has to be there; called each time the consumer is made. */
  declare(channel: Channel): Promise<void>;
  take(channel: Channel, message: ConsumeMessage): void;
}

interface RunningConsumer {
  /** With the reason, when there is one. */
  ended: Promise<Error | undefined>;
}

/** Of one channel. */
const consumerTag = "mecha";
const otherwise = "it is there already and was declared otherwise: delete it, or take over its settings";

/** The consumer of one queue, which is made anew when it is lost. */
export class RabbitmqConsumer {
  readonly #link: RabbitmqLink;
  readonly #settings: ConsumerSettings;
  #channel: Channel | undefined;
  #running: Promise<void> | undefined;
  #isClosing = false;

  constructor(link: RabbitmqLink, settings: ConsumerSettings) {
    this.#link = link;
    this.#settings = settings;
  }

  /** Rejects when the broker does not take what is declared. */
  async open(): Promise<void> {
    let consumer: RunningConsumer | undefined;
    try {
      consumer = await this.#consume();
    } catch (error) {
      const text = messageOf(error);
      const hint = text.includes("PRECONDITION_FAILED") ? `; ${otherwise}` : "";
      const { queue } = this.#settings;
      throw new Error(`can not consume from the queue ${queue}: ${text}${hint}`, { cause: error });
    }
    this.#running = this.#keep(consumer);
  }

  /** No more messages come; those that came can still be acknowledged. */
  async stop(): Promise<void> {
    this.#isClosing = true;
    await this.#channel?.cancel(consumerTag).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.stop();
    await this.#channel?.close().catch(() => undefined);
    await this.#running;
  }

  async #keep(first: RunningConsumer | undefined): Promise<void> {
    const { log, details } = this.#settings;
    const link = this.#link;
    let consumer = first;
    for (let tries = 0; ; ) {
      const error = await consumer?.ended;
      if (this.#isClosing || link.isClosed) return;
      if (consumer !== undefined) log.warn({ error, ...details }, "a consumer of rabbitmq was lost");
      await link.pause(link.pauseMs(tries++));
      consumer = await this.#consume().catch((reason: unknown) => {
        log.warn({ error: reason, ...details }, "messages can not be consumed; trying again");
        return undefined;
      });
      if (consumer !== undefined) tries = 0;
    }
  }

  async #consume(): Promise<RunningConsumer | undefined> {
    if (this.#isClosing) return undefined;
    const { queue, prefetch, declare, take } = this.#settings;
    const channel = await this.#link.channel();
    let failure: Error | undefined;
    const ended = new Promise<Error | undefined>((end) => {
      channel.on("error", (error) => {
        failure = error;
      });
      channel.on("cancel", () => void channel.close().catch(() => undefined));
      channel.on("close", () => end(failure));
    });
    const taken = (message: ConsumeMessage | null): void => {
      if (message !== null) take(channel, message);
      // The queue was deleted: it is declared anew.
      else void channel.close().catch(() => undefined);
    };
    const settingUp = async (): Promise<void> => {
      await declare(channel);
      await channel.prefetch(prefetch);
      this.#channel = channel;
      await channel.consume(queue, taken, { consumerTag });
    };
    await this.#link.answered(settingUp());
    return { ended };
  }
}

/** Acknowledges or gives back. On a channel that is closed there is nothing to settle: its messages are the broker's again. */
export function settle(say: () => void): void {
  try {
    say();
  } catch {
    // The broker sends it again.
  }
}
