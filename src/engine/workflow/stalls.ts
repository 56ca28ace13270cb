import type { Clock } from "../../edges/clock.ts";
import type { Workers } from "./workers.ts";

/** Instances that stand still: each is tried again when a worker comes or goes, or when something is said to it. */
export class Stalls {
  readonly #clock: Clock;
  readonly #held = new Map<string, () => void>();

  constructor(clock: Clock, workers: Workers) {
    this.#clock = clock;
    workers.onChange(() => {
      for (const wake of [...this.#held.values()]) wake();
    });
  }

  get count(): number {
    return this.#held.size;
  }

  /** Resolves at the latest after `timeoutMs`. */
  hold(instanceId: string, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.setTimer(timeoutMs, () => done());
      const done = (): void => {
        timer.cancel();
        this.#held.delete(instanceId);
        resolve();
      };
      this.#held.set(instanceId, done);
    });
  }

  wake(instanceId: string): void {
    this.#held.get(instanceId)?.();
  }
}
