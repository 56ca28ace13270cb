import type { Clock, ClockTimer } from "../../edges/clock.ts";
import { Code, errors } from "../../errors.ts";

/** The end of a time limit or of what it is part of, as a signal. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal;
  readonly #timer: ClockTimer | undefined;
  readonly #onParent: () => void;

  /** 0 ms: no limit of its own. */
  constructor(clock: Clock, limitMs: number, parent: AbortSignal, what: string) {
    this.#parent = parent;
    this.#onParent = () => this.#controller.abort(parent.reason);
    if (parent.aborted) this.#onParent();
    else parent.addEventListener("abort", this.#onParent, { once: true });
    const expire = (): void => {
      const fault = errors.ROUTE(`${what} took longer than ${limitMs} ms`, {
        http: 504,
        grpc: Code.DeadlineExceeded,
      });
      this.#controller.abort(fault);
    };
    this.#timer = limitMs > 0 ? clock.setTimer(limitMs, expire) : undefined;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The result, unless the time is over first; one that comes too late is disposed of. */
  race<T>(work: Promise<T>, dispose: (result: T) => void): Promise<T> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      const giveUp = (): void => reject(signal.reason);
      if (signal.aborted) giveUp();
      else signal.addEventListener("abort", giveUp, { once: true });
      work.then(
        (result) => {
          signal.removeEventListener("abort", giveUp);
          if (signal.aborted) dispose(result);
          else resolve(result);
        },
        (error) => {
          signal.removeEventListener("abort", giveUp);
          reject(error);
        },
      );
    });
  }

  close(): void {
    this.#timer?.cancel();
    this.#parent.removeEventListener("abort", this.#onParent);
  }
}
