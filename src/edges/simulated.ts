import type { Clock, ClockTimer } from "./clock.ts";
import type { Edges } from "./edges.ts";
import type { Random } from "./random.ts";
import { SimulatedFiles } from "./simulated-files.ts";
import { SimulatedSockets } from "./simulated-sockets.ts";

interface PendingTimer {
  dueMs: number;
  order: number;
  callback: () => void;
}

/** Time that stands still until it is moved. Timers fire in due order, those of one moment in the order they were set. */
export class SimulatedClock implements Clock {
  #nowMs: number;
  #monotonicMs = 0;
  #order = 0;
  #timers: PendingTimer[] = [];

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  setTimer(delayMs: number, callback: () => void): ClockTimer {
    const timer = { dueMs: this.#monotonicMs + Math.max(0, delayMs), order: this.#order++, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** How many timers wait: a leak check for tests. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Moves time on, firing what falls due; timers set meanwhile fire too when they fall due in the span. */
  advance(spanMs: number): void {
    const endMs = this.#monotonicMs + spanMs;
    for (let next = this.#nextDue(endMs); next; next = this.#nextDue(endMs)) {
      this.#moveTo(Math.max(next.dueMs, this.#monotonicMs));
      this.#timers = this.#timers.filter((other) => other !== next);
      next.callback();
    }
    this.#moveTo(endMs);
  }

  /** Sets the wall clock as an administrator or NTP would: timers are not moved by it. */
  jump(toMs: number): void {
    this.#nowMs = toMs;
  }

  #nextDue(endMs: number): PendingTimer | undefined {
    const due = this.#timers.filter((timer) => timer.dueMs <= endMs);
    return due.sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0];
  }

  #moveTo(monotonicMs: number): void {
    this.#nowMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }
}

/** The same seed gives the same numbers (mulberry32: small, and good enough for tests). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(next() * 256));
  return { next, bytes, uuid: () => uuidFrom(bytes(16)) };
}

export interface SimulatedEdges extends Edges {
  clock: SimulatedClock;
  files: SimulatedFiles;
  sockets: SimulatedSockets;
}

export function simulatedEdges(seed: number): SimulatedEdges {
  const clock = new SimulatedClock();
  return {
    clock,
    random: seededRandom(seed),
    files: new SimulatedFiles(),
    sockets: new SimulatedSockets(clock),
  };
}

/** https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-4 */
function uuidFrom(bytes: Uint8Array): string {
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Buffer.from(bytes).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
