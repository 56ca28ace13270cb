/** A stand-in for AbortSignal with room for one listener at a time. */
export interface Cancellation {
  readonly isCancelled: boolean;
  /** Takes the place of the listener before; `undefined` takes it away. Not called when it is too late already. */
  listen(listener: (() => void) | undefined): void;
}

/** Whoever waits, and may leave. */
export interface Waiting {
  /** Made when it is first looked at. */
  readonly signal?: AbortSignal | undefined;
  /** The same for the hot path; absent: there is only the signal. */
  readonly cancellation?: Cancellation | undefined;
}

/**
 * The end of one attempt at a call: its own, or that of whoever waits for it. An AbortSignal that is listened to costs 6 µs
 * in Bun, so none is made until somebody asks for it.
 */
export class AttemptEnd implements Cancellation {
  readonly #waiting: Waiting;
  #isEnded = false;
  #reason: unknown;
  #listener: (() => void) | undefined;
  #own: AbortController | undefined;
  #signal: AbortSignal | undefined;

  constructor(waiting: Waiting) {
    this.#waiting = waiting;
  }

  end(reason: unknown): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#reason = reason;
    this.#own?.abort(reason);
    this.#listener?.();
  }

  get isCancelled(): boolean {
    const waiting = this.#waiting;
    return this.#isEnded || (waiting.cancellation?.isCancelled ?? waiting.signal?.aborted ?? false);
  }

  listen(listener: (() => void) | undefined): void {
    const { cancellation } = this.#waiting;
    this.#listener = listener;
    if (cancellation !== undefined) cancellation.listen(listener);
    else if (listener !== undefined) this.signal.addEventListener("abort", () => this.#listener?.());
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#own = new AbortController();
      if (this.#isEnded) this.#own.abort(this.#reason);
      const { signal } = this.#waiting;
      this.#signal = signal === undefined ? this.#own.signal : AbortSignal.any([signal, this.#own.signal]);
    }
    return this.#signal;
  }
}

/** The signal of an attempt, however it was told when it ends. */
export function signalOf(ended: AbortSignal | AttemptEnd): AbortSignal;
export function signalOf(ended: AbortSignal | AttemptEnd | undefined): AbortSignal | undefined;
export function signalOf(ended: AbortSignal | AttemptEnd | undefined): AbortSignal | undefined {
  return ended instanceof AttemptEnd ? ended.signal : ended;
}
