/** No more calls may wait: the queue before the concurrency limit is full. */
export class QueueFull extends Error {
  constructor(queuedMax: number) {
    super(`${queuedMax} calls already wait for the application (app-max-concurrency)`);
    this.name = "QueueFull";
  }
}

/** Lets a bounded number of calls at the application at a time; the rest wait in the order they came. */
export interface Limiter {
  readonly active: number;
  readonly queued: number;
  /** Takes a slot when one is free. */
  tryAcquire(): boolean;
  /** `undefined` when the slot is taken at once. Rejects when the signal aborts first or the queue is full. */
  acquire(signal?: AbortSignal): Promise<void> | undefined;
  /** Once per slot taken. */
  release(): void;
}

export interface LimiterOptions {
  /** Calls at a time; none or less: unlimited. */
  max: number;
  /** Calls that may wait. */
  queuedMax?: number;
}

const defaultQueuedMax = 10_000;

export function createLimiter({ max, queuedMax = defaultQueuedMax }: LimiterOptions): Limiter {
  return max > 0 ? new FairLimiter(max, queuedMax) : unlimited;
}

/** Lets everybody in. */
export const unlimited: Limiter = {
  active: 0,
  queued: 0,
  tryAcquire: () => true,
  acquire: () => undefined,
  release: () => {},
};

interface Waiter {
  start(): void;
}

class FairLimiter implements Limiter {
  readonly #max: number;
  readonly #queuedMax: number;
  /** A Set keeps the order of arrival and lets an aborted call leave from the middle. */
  readonly #waiting = new Set<Waiter>();
  #active = 0;

  constructor(max: number, queuedMax: number) {
    this.#max = max;
    this.#queuedMax = queuedMax;
  }

  get active(): number {
    return this.#active;
  }

  get queued(): number {
    return this.#waiting.size;
  }

  tryAcquire(): boolean {
    if (this.#active >= this.#max) return false;
    this.#active++;
    return true;
  }

  acquire(signal?: AbortSignal): Promise<void> | undefined {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.tryAcquire()) return undefined;
    if (this.#waiting.size >= this.#queuedMax) return Promise.reject(new QueueFull(this.#queuedMax));
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        start() {
          signal?.removeEventListener("abort", leave);
          resolve();
        },
      };
      this.#waiting.add(waiter);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  release(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#active--;
      return;
    }
    // The slot passes on without becoming free: nobody can overtake.
    this.#waiting.delete(next);
    next.start();
  }
}
