import type { Clock, ClockTimer } from "../../src/edges/clock.ts";
import type { Random } from "../../src/edges/random.ts";

/** A machine's share of the world: it can stop for a while, or for good. */
export class SimulatedHost {
  readonly name: string;
  readonly clock: Clock;
  isDead = false;
  readonly #world: Clock;
  #held: (() => void)[] | undefined;

  constructor(name: string, world: Clock) {
    this.name = name;
    this.#world = world;
    this.clock = {
      now: () => world.now(),
      monotonicMs: () => world.monotonicMs(),
      setTimer: (delayMs, callback) => this.#setTimer(delayMs, callback),
    };
  }

  get isPaused(): boolean {
    return this.#held !== undefined;
  }

  /** Something reaches this host: at once, when it goes on, or never. */
  run(callback: () => void): void {
    if (this.isDead) return;
    if (this.#held !== undefined) this.#held.push(callback);
    else callback();
  }

  /** SIGSTOP, and SIGCONT after a while: what fell due meanwhile comes then, in order. */
  pause(durationMs: number): void {
    if (this.#held !== undefined) return;
    this.#held = [];
    this.#world.setTimer(durationMs, () => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const callback of held) this.run(callback);
    });
  }

  /** Nothing of it moves any more: what was on its way to it is lost. */
  crash(): void {
    this.isDead = true;
    this.#held = undefined;
  }

  #setTimer(delayMs: number, callback: () => void): ClockTimer {
    let isCancelled = false;
    const timer = this.#world.setTimer(delayMs, () =>
      this.run(() => {
        if (!isCancelled) callback();
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }
}

export function between(random: Random, from: number, to: number): number {
  return from + random.next() * (to - from);
}

export function chance(random: Random, share: number): boolean {
  return random.next() < share;
}

export function oneOf<T>(random: Random, all: readonly T[]): T {
  return all[Math.floor(random.next() * all.length)] as T;
}
