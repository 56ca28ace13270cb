import type { Clock, ClockTimer } from "../../../edges/clock.ts";
import type { FeedListener } from "../store.ts";
import { FeedFile } from "./feed-file.ts";

export interface FeedsOptions {
  clock: Clock;
  /** This process's feed file; made when somebody watches. */
  path: string;
  /** A number that changes with each commit of any process. */
  version(): number;
}

/** A change that no wake-up told of is seen after this time at the latest. */
const lookEveryMs = 500;
/** The same where the kernel grants no watch on files. */
const lookEveryUnwatchedMs = 20;
const looksPerBeat = 20;

/** Tells who watches a channel that it changed, whichever process changed it. */
export class Feeds {
  readonly #options: FeedsOptions;
  readonly #listeners = new Map<string, Set<FeedListener>>();
  readonly #file: FeedFile;
  #isOpen = false;
  #isWatched = false;
  #timer: ClockTimer | undefined;
  #looks = 0;
  #seenVersion = 0;

  constructor(options: FeedsOptions) {
    this.#options = options;
    this.#file = new FeedFile(options.path, (changed) => this.#notifyWhere(changed));
  }

  watch(channel: string, listener: FeedListener): () => void {
    if (!this.#isOpen) this.#open();
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    this.#lookLater();
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(channel) === listeners) this.#listeners.delete(channel);
    };
  }

  /** `isOwn`: this process has committed something. */
  notify(channels: Iterable<string>, isOwn: boolean): void {
    for (const channel of channels) {
      for (const listener of [...(this.#listeners.get(channel) ?? [])]) call(listener, isOwn);
    }
  }

  close(): void {
    this.#timer?.cancel();
    // Who waits looks again, and learns that the store is closed.
    this.notify([...this.#listeners.keys()], false);
    this.#listeners.clear();
    if (this.#isOpen) this.#file.close();
  }

  #open(): void {
    this.#isOpen = true;
    this.#isWatched = this.#file.open();
    this.#seenVersion = this.#options.version();
  }

  #notifyWhere(changed: (channel: string) => boolean): void {
    this.notify([...this.#listeners.keys()].filter(changed), false);
  }

  #lookLater(): void {
    if (this.#timer || this.#listeners.size === 0) return;
    const delayMs = this.#isWatched ? lookEveryMs : lookEveryUnwatchedMs;
    this.#timer = this.#options.clock.setTimer(delayMs, () => this.#look(), { background: true });
  }

  /** The safety net: wake-ups may be lost, as when a writer does not know of this process yet. */
  #look(): void {
    this.#timer = undefined;
    this.#looks += 1;
    if (this.#looks % looksPerBeat === 0 && !this.#file.beat()) this.#isWatched = this.#file.open();
    const version = this.#options.version();
    const changed = version !== this.#seenVersion;
    this.#seenVersion = version;
    if (changed) this.notify([...this.#listeners.keys()], false);
    this.#lookLater();
  }
}

/** A listener that throws is its owner's fault: it must not keep the others from hearing, nor writes from settling. */
function call(listener: FeedListener, isOwn: boolean): void {
  try {
    listener(isOwn);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
