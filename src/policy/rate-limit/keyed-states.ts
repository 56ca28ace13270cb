import type { Algorithm, KeyState } from "./algorithm.ts";

export interface KeyedStatesLimits {
  keysMax: number;
  /** Slots for what is remembered of keys that had to go. */
  tracesMax: number;
}

const standard: KeyedStatesLimits = { keysMax: 10_000, tracesMax: 16_384 };

/**
 * The states of the keys that were used last, in bounded memory. A key that has to go before its counts are over leaves
 * them in a slot that it may share with others: it comes back as strict as it left, so a flood of made-up keys
 * gives none of them anything sooner. What the neighbours of a slot share is the strictest of them.
 */
export class KeyedStates {
  readonly #algorithm: Algorithm;
  readonly #limits: KeyedStatesLimits;
  /** So that nobody can choose keys which share a slot. */
  readonly #seed: number;
  readonly #states = new Map<string, KeyState>();
  readonly #traces: (KeyState | undefined)[] = [];
  #newest: string | undefined;

  constructor(algorithm: Algorithm, seed: number, limits = standard) {
    this.#algorithm = algorithm;
    this.#seed = seed;
    this.#limits = limits;
  }

  get size(): number {
    return this.#states.size;
  }

  of(key: string, nowMs: number): KeyState {
    const known = this.#states.get(key);
    if (known !== undefined && key === this.#newest) return known;
    if (known !== undefined) this.#states.delete(key);
    else if (this.#states.size >= this.#limits.keysMax) this.#forgetOldest(nowMs);
    const state = known ?? this.#fresh(key);
    this.#states.set(key, state);
    this.#newest = key;
    return state;
  }

  #fresh(key: string): KeyState {
    const state = this.#algorithm.fresh();
    const trace = this.#traces.length === 0 ? undefined : this.#traces[this.#slotOf(key)];
    if (trace !== undefined) this.#algorithm.merge(state, trace);
    return state;
  }

  #forgetOldest(nowMs: number): void {
    const [oldest] = this.#states;
    if (oldest === undefined) return;
    const [key, state] = oldest;
    this.#states.delete(key);
    if (this.#algorithm.resetMs(state, nowMs) <= 0) return;
    const slot = this.#slotOf(key);
    const trace = this.#traces[slot];
    if (trace === undefined) this.#traces[slot] = state;
    else this.#algorithm.merge(trace, state);
  }

  #slotOf(key: string): number {
    let hash = this.#seed >>> 0;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    hash ^= hash >>> 15;
    return (hash >>> 0) % this.#limits.tracesMax;
  }
}
