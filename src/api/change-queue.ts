import type { ConfigurationItem } from "../component/configuration-store.ts";

type Items = Record<string, ConfigurationItem>;

/** Changes on their way into a stream that may be slower: of each key only the newest is kept. */
export class ChangeQueue implements AsyncIterable<Items> {
  #pending: Items = {};
  #wake: (() => void) | undefined;
  #isEnded = false;

  constructor(signal: AbortSignal) {
    if (signal.aborted) this.#isEnded = true;
    else signal.addEventListener("abort", () => this.end(), { once: true });
  }

  push(items: Items): void {
    Object.assign(this.#pending, items);
    this.#wake?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Items> {
    while (!this.#isEnded) {
      const items = this.#pending;
      if (Object.keys(items).length > 0) {
        this.#pending = {};
        yield items;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
