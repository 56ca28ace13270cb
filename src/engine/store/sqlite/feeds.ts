import type { Clock, ClockTimer } from "../../../edges/clock.ts";

type Listener = () => void;

const fastestMs = 5;
const slowestMs = 250;

/** Tells who watches a channel that it changed, whichever process changed it. */
export class Feeds {
  readonly #clock: Clock;
  readonly #version: () => number;
  readonly #listeners = new Map<string, Set<Listener>>();
  #timer: ClockTimer | undefined;
  #intervalMs = fastestMs;
  #seenVersion: number;

  constructor(clock: Clock, version: () => number) {
    this.#clock = clock;
    this.#version = version;
    this.#seenVersion = version();
  }

  watch(channel: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    this.#poll();
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(channel) === listeners) this.#listeners.delete(channel);
    };
  }

  notify(channels: Iterable<string>): void {
    for (const channel of channels) {
      for (const listener of this.#listeners.get(channel) ?? []) listener();
    }
  }

  close(): void {
    this.#timer?.cancel();
    this.#listeners.clear();
  }

  #poll(): void {
    if (this.#timer || this.#listeners.size === 0) return;
    this.#timer = this.#clock.setTimer(this.#intervalMs, () => this.#look(), { background: true });
  }

  #look(): void {
    this.#timer = undefined;
    const version = this.#version();
    const changed = version !== this.#seenVersion;
    this.#seenVersion = version;
    this.#intervalMs = changed ? fastestMs : Math.min(this.#intervalMs * 1.5, slowestMs);
    if (changed) this.notify([...this.#listeners.keys()]);
    this.#poll();
  }
}
