import type { RateLimitRule } from "../../resource/rate-limit.ts";

/** What is known of one key: numbers only, so that a shared store can hold it. */
export type KeyState = number[];

/** How a limit counts. A state is changed in place; times are milliseconds of one clock and never go back in it. */
export interface Algorithm {
  fresh(): KeyState;
  /** 0: taken; else in how many milliseconds it could be, if nobody else takes. */
  take(state: KeyState, nowMs: number, count: number): number;
  /** Undoes a `take`. */
  giveBack(state: KeyState, nowMs: number, count: number): void;
  /** How many could be taken now. */
  remaining(state: KeyState, nowMs: number): number;
  /** Until the state is that of a fresh key; 0: it is. */
  resetMs(state: KeyState, nowMs: number): number;
  /** Makes `into` at least as strict as `from`. */
  merge(into: KeyState, from: KeyState): void;
}

export type Rate = Pick<RateLimitRule, "algorithm" | "requests" | "perMs" | "burst">;

/** `extraSlots`: for how many slots longer a sliding window remembers. */
export function algorithmOf(rate: Rate, extraSlots = 0): Algorithm {
  return rate.algorithm === "tokenBucket" ? tokenBucket(rate) : slidingWindow(rate, extraSlots);
}

/**
 * In any time t at most burst + requests × t ÷ per. More at once than the burst need a full bucket, are let through
 * together and paid for afterwards. The state: tokens, and when they were counted.
 */
function tokenBucket({ requests, perMs, burst }: Rate): Algorithm {
  const tokensPerMs = requests / perMs;
  const refill = (state: KeyState, nowMs: number): number => {
    const [tokens = 0, atMs = 0] = state;
    if (nowMs <= atMs) return tokens;
    state[1] = nowMs;
    state[0] = Math.min(burst, tokens + (nowMs - atMs) * tokensPerMs);
    return state[0];
  };
  return {
    fresh: () => [burst, 0],
    take(state, nowMs, count) {
      const tokens = refill(state, nowMs);
      const needed = Math.min(count, burst);
      if (tokens < needed) return (needed - tokens) / tokensPerMs;
      state[0] = tokens - count;
      return 0;
    },
    giveBack(state, nowMs, count) {
      state[0] = Math.min(burst, refill(state, nowMs) + count);
    },
    remaining: (state, nowMs) => Math.max(0, Math.floor(refill(state, nowMs))),
    resetMs: (state, nowMs) => (burst - refill(state, nowMs)) / tokensPerMs,
    merge(into, from) {
      const nowMs = Math.max(into[1] ?? 0, from[1] ?? 0);
      into[0] = Math.min(refill(into, nowMs), refill(from.slice(), nowMs));
    },
  };
}

const slotsPerWindow = 16;
/** Before the counts: the newest slot's number, and the sum. */
const head = 2;

/** In any window at most `requests`: what was counted leaves when the whole slot it fell into is older than a window. */
function slidingWindow({ requests, perMs }: Rate, extraSlots: number): Algorithm {
  const slotMs = perMs / slotsPerWindow;
  const size = slotsPerWindow + 1 + extraSlots;
  const at = (slot: number): number => head + (((slot % size) + size) % size);
  const advance = (state: KeyState, slot: number): void => {
    const [newest = 0] = state;
    if (slot <= newest) return;
    for (let one = Math.max(newest + 1, slot - size + 1); one <= slot; one++) {
      state[1] = (state[1] ?? 0) - (state[at(one)] ?? 0);
      state[at(one)] = 0;
    }
    state[0] = slot;
  };
  const current = (state: KeyState, nowMs: number): number => {
    advance(state, Math.floor(nowMs / slotMs));
    return state[1] ?? 0;
  };
  /** When the counts of the slot are forgotten. */
  const leavesMs = (slot: number, nowMs: number): number => (slot + size) * slotMs - nowMs;
  return {
    fresh: () => new Array<number>(head + size).fill(0),
    take(state, nowMs, count) {
      let held = current(state, nowMs);
      const room = requests - Math.min(count, requests);
      const [newest = 0] = state;
      if (held <= room) {
        state[1] = held + count;
        state[at(newest)] = (state[at(newest)] ?? 0) + count;
        return 0;
      }
      for (let slot = newest - size + 1; slot <= newest; slot++) {
        held -= state[at(slot)] ?? 0;
        if (held <= room) return leavesMs(slot, nowMs);
      }
      return leavesMs(newest, nowMs);
    },
    giveBack(state, nowMs, count) {
      const held = current(state, nowMs);
      const newest = at(state[0] ?? 0);
      const returned = Math.min(count, state[newest] ?? 0);
      state[newest] = (state[newest] ?? 0) - returned;
      state[1] = held - returned;
    },
    remaining: (state, nowMs) => Math.max(0, requests - current(state, nowMs)),
    resetMs(state, nowMs) {
      if (current(state, nowMs) === 0) return 0;
      const [newest = 0] = state;
      let slot = newest;
      while (slot > newest - size && (state[at(slot)] ?? 0) === 0) slot--;
      return leavesMs(slot, nowMs);
    },
    merge(into, from) {
      const slot = Math.max(into[0] ?? 0, from[0] ?? 0);
      const other = from.slice();
      advance(into, slot);
      advance(other, slot);
      into[1] = 0;
      for (let one = head; one < head + size; one++) {
        into[one] = Math.max(into[one] ?? 0, other[one] ?? 0);
        into[1] += into[one] ?? 0;
      }
    },
  };
}
