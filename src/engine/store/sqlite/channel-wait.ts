import type { Clock } from "../../../edges/clock.ts";
import type { Feeds } from "./feeds.ts";

/** Waits until the channel may have changed, the time has come or the signal aborts. Start it before looking. */
export class ChannelWait {
  readonly #wake = Promise.withResolvers<void>();
  readonly #unwatch: () => void;
  readonly #signal: AbortSignal | undefined;

  constructor(feeds: Pick<Feeds, "watch">, channel: string, signal?: AbortSignal) {
    this.#unwatch = feeds.watch(channel, () => this.#wake.resolve());
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  async until(clock: Clock, delayMs: number): Promise<void> {
    if (this.#signal?.aborted) return;
    const timer = clock.setTimer(delayMs, this.#wake.resolve);
    await this.#wake.promise;
    timer.cancel();
  }

  end(): void {
    this.#unwatch();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#wake.resolve();
  }

  readonly #onAbort = (): void => this.#wake.resolve();
}
