import { MessagesAtWork } from "../component/messages-at-work.ts";
import { sleep } from "../edges/clock.ts";
import { messageOf } from "../kit/message-of.ts";
import type { GrpcDuplex } from "../net/grpc/index.ts";
import type { PluggedLink } from "./link.ts";

export interface PullOptions {
  /** `Service/Method`. */
  method: string;
  /** What each stream begins with. */
  first?: Uint8Array;
  /** Messages handled at once: more are not read, and wait on the side of the component. */
  concurrencyMax: number;
  /** Handles a message and gives what acknowledges it, or says what was wrong with it. Rejects when it can not be read. */
  handle(message: Uint8Array): Promise<Uint8Array>;
}

const pauseMinMs = 100;
const pauseMaxMs = 5_000;
const goodbyeMs = 1_000;

/** A stream of messages that is begun again when it ends. What was not acknowledged on it is the component's to send again. */
export class Pull {
  readonly #link: PluggedLink;
  readonly #options: PullOptions;
  readonly #work = new MessagesAtWork();
  readonly #closing = new AbortController();
  #stream: GrpcDuplex | undefined;
  #isOfUse = false;
  #running: Promise<void> | undefined;

  constructor(link: PluggedLink, options: PullOptions) {
    this.#link = link;
    this.#options = options;
  }

  /** Resolves when the first stream has begun. */
  async open(): Promise<void> {
    const stream = await this.#begin();
    this.#running = this.#run(stream);
  }

  /** Takes no more, waits for what is at work and acknowledges it. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#work.all();
    this.#stream?.end();
    const { clock } = this.#link.edges;
    const over = new AbortController();
    const running = (this.#running ?? Promise.resolve()).then(() => over.abort());
    await sleep(clock, goodbyeMs, over.signal);
    this.#stream?.cancel();
    await running;
  }

  async #begin(): Promise<GrpcDuplex> {
    const stream = await this.#link.stream(this.#options.method);
    this.#stream = stream;
    if (this.#options.first !== undefined) await stream.send(this.#options.first);
    return stream;
  }

  async #run(first: GrpcDuplex): Promise<void> {
    const { signal } = this.#closing;
    const { clock, random } = this.#link.edges;
    let next: GrpcDuplex | undefined = first;
    for (let tries = 0; !signal.aborted; tries++) {
      this.#isOfUse = false;
      let why = "it ended the stream";
      try {
        await this.#receive(next ?? (await this.#begin()));
      } catch (error) {
        why = messageOf(error);
      }
      next = undefined;
      if (signal.aborted) return;
      if (this.#isOfUse) tries = 0;
      const { method } = this.#options;
      if (tries === 0)
        this.#link.log.warn({ method, why }, "the stream of the pluggable component is begun anew");
      const pauseMs = Math.min(pauseMaxMs, pauseMinMs * 2 ** Math.min(tries, 10));
      await sleep(clock, pauseMs * (0.5 + random.next() / 2), signal);
    }
  }

  async #receive(stream: GrpcDuplex): Promise<void> {
    const { concurrencyMax, handle } = this.#options;
    for await (const message of stream.responses) {
      // It is not acknowledged, so it comes again to whoever is next.
      if (this.#closing.signal.aborted) continue;
      const work = async (): Promise<void> => {
        await stream.send(await handle(message));
        this.#isOfUse = true;
      };
      // A stream that is over has no use for an answer, and one that brings nonsense is of no use.
      this.#work.start(Symbol(), undefined, () => work().catch(() => stream.cancel()));
      while (this.#work.size >= concurrencyMax) await this.#work.one();
    }
  }
}
