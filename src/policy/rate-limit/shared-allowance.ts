import type { Clock } from "../../edges/clock.ts";
import { sleep } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { Counters } from "../use/layer.ts";
import { type Algorithm, algorithmOf, type KeyState, type Rate } from "./algorithm.ts";
import type { Allowance, Taken } from "./allowance.ts";

export interface SharedAllowanceOptions {
  counters: Counters;
  clock: Clock;
  random: Random;
  /** Names the counters of this limit and target for all who share them. */
  recordOf(key: string): string;
  failurePolicy: "open" | "closed";
}

/** What this instance holds of one key. */
interface Loan {
  left: number;
  endsMs: number;
  /** Until then the answer is known to be no. */
  refusedUntilMs: number;
  /** Of the last answer. */
  remaining: number;
  resetMs: number;
  /** Taken since the loan began, and in the one before: what the next one is worth asking for. */
  used: number;
  usedBefore: number;
  waiting: Waiting[];
  isBorrowing: boolean;
}

interface Waiting {
  count: number;
  answer(taken: Taken): void;
}

const loansMax = 10_000;
/** Unused places of a loan are lost after this time, and after a tenth of the limit's. */
const loanMaxMs = 1000;
/** The longest that a use waits for the counters. */
const answerMaxMs = 2000;
/** After a failure nobody asks for so long. */
const awayMs = 1000;
const jitterMs = 10;
/** Small numbers keep the fractions of a millisecond. */
const epochMs = Date.UTC(2026, 0, 1);

/**
 * Counted together with all who share the counters. The counts live in one record per key that is changed by compare
 * and set; an instance borrows some places at a time, as many as it used in the last loan, and hands them out without
 * asking. Places are taken from the record when they are lent: since the first use never more than the limit allows
 * are used. Of a sliding window the record remembers a loan's length longer, so no window has more than its requests;
 * a token bucket may give, in the time after a pause, what was lent and not yet used on top: at most a tenth.
 */
export class SharedAllowance implements Allowance {
  readonly #options: SharedAllowanceOptions;
  readonly #algorithm: Algorithm;
  readonly #loanMs: number;
  readonly #lentMax: number;
  readonly #loans = new Map<string, Loan>();
  #awayUntilMs = Number.NEGATIVE_INFINITY;

  constructor(rate: Rate, options: SharedAllowanceOptions) {
    this.#options = options;
    this.#algorithm = algorithmOf(rate, 1);
    // A slot of a sliding window is a sixteenth of it.
    this.#loanMs = Math.min(loanMaxMs, rate.perMs / 16);
    this.#lentMax = Math.floor((rate.requests * this.#loanMs) / rate.perMs);
  }

  take(key: string, count: number): Taken | Promise<Taken> {
    const nowMs = this.#options.clock.now();
    const loan = this.#loanOf(key);
    if (loan.waiting.length === 0 && loan.left >= count && nowMs < loan.endsMs) {
      loan.left -= count;
      loan.used += count;
      return { waitMs: 0, remaining: loan.remaining + loan.left, resetMs: loan.resetMs };
    }
    if (nowMs < loan.refusedUntilMs) return refused(loan, nowMs);
    if (this.#options.clock.monotonicMs() < this.#awayUntilMs) return this.#unknown();
    return this.#borrowed(key, loan, count);
  }

  giveBack(key: string, count: number): void {
    const loan = this.#loans.get(key);
    if (loan !== undefined && this.#options.clock.now() < loan.endsMs) loan.left += count;
  }

  #loanOf(key: string): Loan {
    const known = this.#loans.get(key);
    if (known !== undefined) return known;
    if (this.#loans.size >= loansMax) this.#forgetOne();
    const loan: Loan = {
      ...{ left: 0, endsMs: 0, refusedUntilMs: 0, remaining: 0, resetMs: 0 },
      ...{ used: 0, usedBefore: 0, waiting: [], isBorrowing: false },
    };
    this.#loans.set(key, loan);
    return loan;
  }

  /** What it held is lost; the record has the counts. */
  #forgetOne(): void {
    for (const [key, loan] of this.#loans) {
      if (loan.isBorrowing) continue;
      this.#loans.delete(key);
      return;
    }
  }

  /** All who wait for the same key are served by one change of the record. */
  #borrowed(key: string, loan: Loan, count: number): Promise<Taken> {
    return new Promise((resolve) => {
      const { clock } = this.#options;
      const waiting: Waiting = {
        count,
        answer(taken) {
          timer.cancel();
          resolve(taken);
        },
      };
      const timer = clock.setTimer(answerMaxMs, () => this.#giveUp(loan, waiting), { background: true });
      loan.waiting.push(waiting);
      if (!loan.isBorrowing) void this.#borrow(key, loan);
    });
  }

  #giveUp(loan: Loan, waiting: Waiting): void {
    const index = loan.waiting.indexOf(waiting);
    if (index >= 0) loan.waiting.splice(index, 1);
    this.#away();
    waiting.answer(this.#unknown());
  }

  async #borrow(key: string, loan: Loan): Promise<void> {
    loan.isBorrowing = true;
    try {
      while (loan.waiting.length > 0) await this.#borrowOnce(this.#options.recordOf(key), loan);
    } catch {
      this.#away();
      for (const waiting of loan.waiting.splice(0)) waiting.answer(this.#unknown());
    }
    loan.isBorrowing = false;
  }

  async #borrowOnce(record: string, loan: Loan): Promise<void> {
    const { counters, clock, random } = this.#options;
    const held = await counters.read(record);
    const state = stateOf(held?.value) ?? this.#algorithm.fresh();
    const nowMs = clock.now();
    const asked = loan.waiting.slice();
    const lent = this.#lend(state, nowMs - epochMs, { asked, wanted: this.#wanted(loan, nowMs) });
    if (lent.served > 0) {
      const resetMs = this.#algorithm.resetMs(state, nowMs - epochMs);
      const expiresAtMs = nowMs + Math.ceil(resetMs) + loanMaxMs;
      const change = { value: JSON.stringify(state), etag: held?.etag, expiresAtMs };
      if (!(await counters.write(record, change))) return sleep(clock, random.next() * jitterMs);
    }
    this.#hand(loan, { state, nowMs, asked, ...lent });
  }

  /** As many as were used in a loan's time, as long as that is little of the limit. */
  #wanted(loan: Loan, nowMs: number): number {
    const sinceMs = nowMs - (loan.endsMs - this.#loanMs);
    const used = sinceMs > 2 * this.#loanMs ? 0 : Math.max(loan.used, loan.usedBefore);
    return Math.min(this.#lentMax, used);
  }

  #lend(state: KeyState, nowMs: number, { asked, wanted }: { asked: readonly Waiting[]; wanted: number }) {
    let served = 0;
    let waitMs = 0;
    for (const { count } of asked) {
      waitMs = this.#algorithm.take(state, nowMs, count);
      if (waitMs > 0) break;
      served++;
    }
    const spare = served < asked.length ? 0 : Math.min(wanted, this.#algorithm.remaining(state, nowMs));
    const extra = spare > 0 && this.#algorithm.take(state, nowMs, spare) === 0 ? spare : 0;
    return { served, waitMs, extra };
  }

  #hand(
    loan: Loan,
    lent: {
      state: KeyState;
      nowMs: number;
      asked: readonly Waiting[];
      served: number;
      waitMs: number;
      extra: number;
    },
  ): void {
    const { state, nowMs, asked, served, waitMs, extra } = lent;
    loan.remaining = this.#algorithm.remaining(state, nowMs - epochMs);
    loan.resetMs = this.#algorithm.resetMs(state, nowMs - epochMs);
    if (nowMs >= loan.endsMs) {
      loan.usedBefore = nowMs - loan.endsMs > this.#loanMs ? 0 : loan.used;
      loan.used = 0;
    }
    if (extra > 0 || loan.left === 0 || nowMs >= loan.endsMs) {
      loan.left = extra;
      loan.endsMs = nowMs + this.#loanMs;
    }
    if (waitMs > 0) loan.refusedUntilMs = nowMs + waitMs;
    for (const [index, waiting] of asked.entries()) {
      const at = loan.waiting.indexOf(waiting);
      if (at >= 0) loan.waiting.splice(at, 1);
      if (index < served) loan.used += waiting.count;
      const { remaining, resetMs } = loan;
      waiting.answer(
        index < served ? { waitMs: 0, remaining: remaining + extra, resetMs } : refused(loan, nowMs),
      );
    }
  }

  #away(): void {
    this.#awayUntilMs = this.#options.clock.monotonicMs() + awayMs;
  }

  #unknown(): Taken {
    const waitMs = this.#options.failurePolicy === "open" ? 0 : awayMs;
    return { waitMs, remaining: 0, resetMs: awayMs, isAway: true };
  }
}

function refused({ refusedUntilMs, resetMs }: Loan, nowMs: number): Taken {
  return { waitMs: Math.max(1, refusedUntilMs - nowMs), remaining: 0, resetMs };
}

function stateOf(value: string | undefined): KeyState | undefined {
  return value === undefined ? undefined : (JSON.parse(value) as KeyState);
}
