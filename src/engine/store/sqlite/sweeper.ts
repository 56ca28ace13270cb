import type { Clock, ClockTimer } from "../../../edges/clock.ts";
import type { Retention } from "./batch-codec.ts";
import { isDead, markOf } from "./process-mark.ts";
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
    // At once: what a process held that was killed is waiting for this one.
    this.#later(0);
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
      await this.#releaseDead();
      if (this.#isDue()) more = (await thread.write({ op: "sweep", retention })).value.more;
      if (!more && !this.#isClosed) this.#sweptVersion = this.#options.reads.dataVersion();
    } catch {
      // Disk full, busy or closing: a later round does the work.
    }
    this.#later(more ? 1 : everyMs);
  }

  async #releaseDead(): Promise<void> {
    const owners = this.#options.reads.owners().filter((owner) => isDead(markOf(owner)));
    if (owners.length > 0) await this.#options.thread.write({ op: "releaseOwners", owners });
  }

  /** A look that costs little, so that idle processes do not take the write lock in turns for nothing. */
  #isDue(): boolean {
    const { reads, clock } = this.#options;
    this.#rounds += 1;
    if (this.#rounds % quietRounds === 0 || reads.hasExpired(clock.now())) return true;
    return reads.dataVersion() !== this.#sweptVersion && reads.hasMessages();
  }
}
