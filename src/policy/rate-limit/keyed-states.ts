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
  readonly #halfMax: number;
  /** So that nobody can choose keys which share a slot. */
  readonly #seed: number;
  /**
   * Used since the last turn, and not since. They take turns as wholes: finding the oldest of a Map whose first entries
   * are deleted again and again costs a walk over what is no longer there.
   */
  #young = new Map<string, KeyState>();
  #old = new Map<string, KeyState>();
  readonly #traces: (KeyState | undefined)[] = [];

  constructor(algorithm: Algorithm, seed: number, limits = standard) {
    this.#algorithm = algorithm;
    this.#seed = seed;
    this.#limits = limits;
    this.#halfMax = Math.max(1, Math.floor(limits.keysMax / 2));
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  of(key: string, nowMs: number): KeyState {
    const known = this.#young.get(key);
    if (known !== undefined) return known;
    if (this.#young.size >= this.#halfMax) this.#turn(nowMs);
    const older = this.#old.get(key);
    if (older !== undefined) this.#old.delete(key);
    const state = older ?? this.#fresh(key);
    this.#young.set(key, state);
    return state;
  }

  #fresh(key: string): KeyState {
    const state = this.#algorithm.fresh();
    const trace = this.#traces.length === 0 ? undefined : this.#traces[this.#slotOf(key)];
    if (trace !== undefined) this.#algorithm.merge(state, trace);
    return state;
  }

  #turn(nowMs: number): void {
    for (const [key, state] of this.#old) this.#leaveTrace(key, state, nowMs);
    this.#old = this.#young;
    this.#young = new Map();
  }

  #leaveTrace(key: string, state: KeyState, nowMs: number): void {
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
