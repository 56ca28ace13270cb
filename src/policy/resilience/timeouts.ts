import type { Clock, ClockTimer } from "../../edges/clock.ts";

interface Entry {
  readonly dueMs: number;
  readonly late: () => void;
  before: Entry | undefined;
  after: Entry | undefined;
  isIn: boolean;
}

/** Timeouts that are all of one length, so that the oldest is the first to end: one timer of the system for all of them. */
export class Timeouts {
  readonly #clock: Clock;
  readonly #afterMs: number;
  #first: Entry | undefined;
  #last: Entry | undefined;
  #timer: ClockTimer | undefined;

  constructor(clock: Clock, afterMs: number) {
    this.#clock = clock;
    this.#afterMs = afterMs;
  }

  /** Calls back after the time, unless what it answers is cancelled before. */
  start(late: () => void): ClockTimer {
    const dueMs = this.#clock.monotonicMs() + this.#afterMs;
    const entry: Entry = { dueMs, late, before: this.#last, after: undefined, isIn: true };
    if (this.#last === undefined) this.#first = entry;
    else this.#last.after = entry;
    this.#last = entry;
    this.#timer ??= this.#arm(this.#afterMs);
    return { cancel: () => this.#remove(entry) };
  }

  #arm(delayMs: number): ClockTimer {
    return this.#clock.setTimer(delayMs, () => this.#fire());
  }

  #fire(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    while (this.#first !== undefined && this.#first.dueMs <= nowMs) {
      const entry = this.#first;
      this.#remove(entry);
      entry.late();
    }
    if (this.#first !== undefined) this.#timer ??= this.#arm(this.#first.dueMs - nowMs);
  }

  #remove(entry: Entry): void {
    if (!entry.isIn) return;
    entry.isIn = false;
    if (entry.before === undefined) this.#first = entry.after;
    else entry.before.after = entry.after;
    if (entry.after === undefined) this.#last = entry.before;
    else entry.after.before = entry.before;
  }
}
