import type { ElectionEvent } from "../engine/leases/candidate.ts";

/**
 * Events on their way to a reader that may be slower. What a slow reader missed is of no use to it: kept are the
 * newest state and, before it, that leadership was lost.
 */
export class ElectionQueue implements AsyncIterable<ElectionEvent> {
  /** Resolves when nobody reads any more, or nothing more comes. */
  readonly ended: Promise<void>;
  #pending: ElectionEvent[] = [];
  #wake: (() => void) | undefined;
  #isEnded = false;
  readonly #resolveEnded: () => void;

  constructor(signal: AbortSignal) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
    if (signal.aborted) this.end();
    else signal.addEventListener("abort", () => this.end(), { once: true });
  }

  push(event: ElectionEvent): void {
    if (this.#isEnded) return;
    const lost = this.#pending.findLast(({ kind }) => kind === "lost");
    const isWon = this.#pending.some(({ kind }) => kind === "leading");
    // A renewal after an unread "leading" is that term's beginning, with its newest validity.
    const next = event.kind === "renewed" && isWon ? { ...event, kind: "leading" as const } : event;
    this.#pending = lost === undefined ? [next] : [lost, next];
    this.#wake?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#resolveEnded();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ElectionEvent> {
    try {
      while (true) {
        const event = this.#pending.shift();
        if (event !== undefined) yield event;
        else if (this.#isEnded) return;
        else await this.#more();
      }
    } finally {
      this.end();
    }
  }

  async #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
  }
}
