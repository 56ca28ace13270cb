import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { Store } from "../store/store.ts";
import { type AppName, recordSpace } from "./names.ts";
import type { InstanceRecord } from "./record.ts";

interface Waiter {
  instanceId: string;
  look(record?: InstanceRecord): void;
}

/**
 * Wakes those who wait for an instance to change: at once after a commit of this runtime, and soon after commits of
 * others, which a feed tells without saying what changed.
 */
export class Changes {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #app: AppName;
  readonly #isTold: () => boolean;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #count = 0;
  #unwatch: (() => void) | undefined;
  #sweep: ClockTimer | undefined;

  /** `isTold`: whether a commit of this engine is under way, of which it tells itself. */
  constructor(store: Store, clock: Clock, app: AppName, isTold: () => boolean) {
    this.#store = store;
    this.#clock = clock;
    this.#app = app;
    this.#isTold = isTold;
  }

  /** Returns the function that stops the waiting. */
  wait(instanceId: string, look: (record?: InstanceRecord) => void): () => void {
    const waiter = { instanceId, look };
    const waiters = this.#waiters.get(instanceId) ?? new Set();
    this.#waiters.set(instanceId, waiters.add(waiter));
    this.#count += 1;
    this.#unwatch ??= this.#store.watch(`keys:${recordSpace(this.#app)}`, (isOwn) => this.#plan(isOwn));
    return () => {
      if (!waiters.delete(waiter)) return;
      this.#count -= 1;
      if (waiters.size === 0 && this.#waiters.get(instanceId) === waiters) this.#waiters.delete(instanceId);
      if (this.#count === 0) this.close();
    };
  }

  /** `record`: what was just committed, so that nobody has to read it. */
  notify(instanceId: string, record?: InstanceRecord): void {
    for (const waiter of this.#waiters.get(instanceId) ?? []) waiter.look(record);
  }

  close(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  /** Many feeds make one look at all that wait; those that tell of this engine's own commits make none. */
  #plan(isOwn: boolean): void {
    if (this.#sweep !== undefined || (isOwn && this.#isTold())) return;
    const delayMs = Math.max(sweepDelayMs, this.#count / 10);
    this.#sweep = this.#clock.setTimer(delayMs, () => {
      this.#sweep = undefined;
      for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.look();
    });
  }
}

const sweepDelayMs = 25;
