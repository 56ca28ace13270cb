import type { Consumer, ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import type { Clock } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";

interface PullOptions {
  surroundings: { edges: Edges; log: Log };
  /** For the log: what is read. */
  topic: string;
  concurrencyMax: number;
  /** Makes the consumer, or finds it; called again after an error. */
  consumer(): Promise<Consumer>;
  /** What is to be done with a message: it never rejects. */
  begin(message: JsMsg): { partitionKey: string | undefined; handle: () => Promise<void> };
}

/** How long a pull waits for messages; the end of a subscription does not wait for it. */
const pullMs = 5_000;
const pauseMs = 200;

/** One durable consumer, pulled for as many messages as may be at work. */
export class NatsPull {
  readonly #options: PullOptions;
  readonly #atWork = new MessagesAtWork();
  #pull: ConsumerMessages | undefined;
  #running: Promise<void> | undefined;
  #isClosing = false;

  constructor(options: PullOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#running = this.#run(await this.#options.consumer());
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#pull?.stop();
    await this.#running;
    await this.#atWork.all();
  }

  async #run(first: Consumer): Promise<void> {
    const { surroundings, topic, concurrencyMax } = this.#options;
    const { log, edges } = surroundings;
    let consumer: Consumer | undefined = first;
    while (!this.#isClosing) {
      const room = concurrencyMax - this.#atWork.size;
      if (room <= 0) {
        await this.#atWork.one();
        continue;
      }
      try {
        consumer ??= await this.#options.consumer();
        await this.#take(consumer, room);
      } catch (error) {
        if (this.#isClosing) return;
        log.warn({ error, topic }, "messages can not be read; trying again");
        await new Promise<void>((done) => void edges.clock.setTimer(pauseMs, done));
        consumer = undefined;
      }
    }
  }

  /** One pull: as many messages as there is room for, as they come. */
  async #take(consumer: Consumer, room: number): Promise<void> {
    this.#pull = await consumer.fetch({ max_messages: room, expires: pullMs, idle_heartbeat: pullMs / 5 });
    if (this.#isClosing) this.#pull.stop();
    for await (const message of this.#pull) {
      // What came after the end is left to the next one.
      if (this.#isClosing) message.nak();
      else this.#start(message);
    }
  }

  #start(message: JsMsg): void {
    const { partitionKey, handle } = this.#options.begin(message);
    this.#atWork.start(message, partitionKey, handle);
  }
}

/** Tells the server that a message is at work, which may take longer than it waits. */
export function signsOfLife(clock: Clock, message: JsMsg, everyMs: number): { cancel(): void } {
  const arm = () => clock.setTimer(everyMs, beat);
  let timer = arm();
  function beat(): void {
    message.working();
    timer = arm();
  }
  return { cancel: () => timer.cancel() };
}
