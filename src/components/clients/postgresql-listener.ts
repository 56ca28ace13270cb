import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { PostgresqlConnection } from "./postgresql.ts";

export interface ListenerOptions {
  clock: Clock;
  channel: string;
  connect(events: { onNotice(): void; onClosed(): void }): Promise<PostgresqlConnection>;
  /** Something may have changed: a notice came, or nobody knows what came while the connection was away. */
  onHint(): void;
}

/** How often the connection is asked whether it lives. */
const askEveryMs = 5_000;
const againMs = { first: 50, longest: 2_000 };

/** Hears notices of one channel, on a connection of its own that comes back by itself. */
export class PostgresqlListener {
  readonly #options: ListenerOptions;
  #connection: PostgresqlConnection | undefined;
  #isListening = false;
  #timer: ClockTimer | undefined;
  #asking: Promise<void> | undefined;
  #delayMs = againMs.first;
  #isClosed = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Rejects when it can not listen. */
  async open(): Promise<void> {
    this.#connection = await this.#options.connect({
      onNotice: () => this.#options.onHint(),
      onClosed: () => {
        this.#isListening = false;
        if (!this.#isClosed) this.#askAfter(againMs.first);
      },
    });
    await this.#listen();
    this.#askAfter(askEveryMs);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#connection?.close();
    await this.#asking;
  }

  async #listen(): Promise<void> {
    // Before the answer: a connection that is lost meanwhile says so.
    this.#isListening = true;
    await this.#connection?.read(`LISTEN "${this.#options.channel}"`);
  }

  #askAfter(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#isClosed) return;
    const ask = (): void => {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
    };
    this.#timer = this.#options.clock.setTimer(delayMs, ask, { background: true });
  }

  async #ask(): Promise<void> {
    const wasListening = this.#isListening;
    try {
      if (wasListening) await this.#connection?.read("SELECT 1");
      else await this.#listen();
      this.#delayMs = againMs.first;
      if (!wasListening) this.#options.onHint();
    } catch {
      this.#isListening = false;
      this.#delayMs = Math.min(this.#delayMs * 2, againMs.longest);
    }
    this.#askAfter(this.#isListening ? askEveryMs : this.#delayMs);
  }
}
