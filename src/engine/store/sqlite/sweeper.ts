import type { Clock, ClockTimer } from "../../../edges/clock.ts";
import type { Retention } from "./batch-codec.ts";
import type { Reads } from "./reads.ts";
import type { WriteThread } from "./write-thread.ts";

export interface SweeperOptions {
  clock: Clock;
  reads: Reads;
  thread: WriteThread;
  retention: Retention;
  everyMs: number;
}

/** A quiet store is swept too, for messages that grow too old: every so many rounds. */
const quietRounds = 12;

/** Removes what is expired or handled, in slices, in the background. */
export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: ClockTimer | undefined;
  #isClosed = false;
  #rounds = 0;
  #sweptVersion = -1;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#later(options.everyMs);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #later(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.setTimer(delayMs, () => void this.#round(), { background: true });
  }

  async #round(): Promise<void> {
    const { thread, retention, everyMs } = this.#options;
    let more = false;
    try {
      if (this.#isDue()) more = (await thread.write({ op: "sweep", retention })).value.more;
      if (!more && !this.#isClosed) this.#sweptVersion = this.#options.reads.dataVersion();
    } catch {
      // Disk full, busy or closing: a later round does the work.
    }
    this.#later(more ? 1 : everyMs);
  }

  /** A look that costs little, so that idle processes do not take the write lock in turns for nothing. */
  #isDue(): boolean {
    const { reads, clock } = this.#options;
    this.#rounds += 1;
    if (this.#rounds % quietRounds === 0 || reads.hasExpired(clock.now())) return true;
    return reads.dataVersion() !== this.#sweptVersion && reads.hasMessages();
  }
}
