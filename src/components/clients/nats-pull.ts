import type { Consumer, ConsumerMessages, JsMsg } from "@nats-io/jetstream";
import { MessagesAtWork } from "../../component/messages-at-work.ts";
import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";

interface PullOptions {
  surroundings: { edges: Edges; log: Log };
  /** For the log: what is read. */
  topic: string;
  concurrencyMax: number;
  /** How often the server hears of a message at work; 0: it does not wait for it. */
  signEveryMs: number;
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
  readonly #signs: SignsOfLife | undefined;
  #pull: ConsumerMessages | undefined;
  #running: Promise<void> | undefined;
  #isClosing = false;

  constructor(options: PullOptions) {
    this.#options = options;
    const { signEveryMs, surroundings } = options;
    if (signEveryMs > 0) this.#signs = new SignsOfLife(surroundings.edges.clock, signEveryMs);
  }

  async open(): Promise<void> {
    this.#running = this.#run(await this.#options.consumer());
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#pull?.stop();
    await this.#running;
    await this.#atWork.all();
    this.#signs?.close();
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
    this.#signs?.begin(message);
    this.#atWork.start(message, partitionKey, () => handle().then(() => this.#signs?.end(message)));
  }
}

/** Tells the server that messages are at work, which may take longer than it waits: one timer for all of them. */
class SignsOfLife {
  readonly #clock: Clock;
  readonly #everyMs: number;
  /** When the next sign of each is due; the first of them is the oldest. */
  readonly #dueMs = new Map<JsMsg, number>();
  #timer: ClockTimer | undefined;

  constructor(clock: Clock, everyMs: number) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  begin(message: JsMsg): void {
    this.#dueMs.set(message, this.#clock.monotonicMs() + this.#everyMs);
    this.#timer ??= this.#arm(this.#everyMs);
  }

  end(message: JsMsg): void {
    this.#dueMs.delete(message);
  }

  close(): void {
    this.#timer?.cancel();
  }

  #arm(afterMs: number): ClockTimer {
    return this.#clock.setTimer(afterMs, () => this.#beat());
  }

  #beat(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const [message, dueMs] of this.#dueMs) {
      if (dueMs > nowMs) {
        this.#timer = this.#arm(dueMs - nowMs);
        return;
      }
      message.working();
      this.#dueMs.delete(message);
      this.#dueMs.set(message, nowMs + this.#everyMs);
    }
  }
}
