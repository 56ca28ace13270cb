import { errors } from "../../errors.ts";

interface Waiting {
  chain: string | undefined;
  enter(): void;
}

/** Turns of one actor: one call at a time, first come first served; calls of the running chain may nest. */
export class TurnLock {
  readonly #depthMax: number;
  readonly #queue: Waiting[] = [];
  #chain: string | undefined;
  #depth = 0;

  /** `depthMax` 0: no reentrancy. */
  constructor(depthMax: number) {
    this.#depthMax = depthMax;
  }

  get isFree(): boolean {
    return this.#depth === 0 && this.#queue.length === 0;
  }

  /** Whether a call of this chain may nest in the turn that runs. */
  isNested(chain: string | undefined): boolean {
    return this.#depth > 0 && this.#depthMax > 0 && chain !== undefined && chain === this.#chain;
  }

  /** Resolves when it is this call's turn, which `leave` ends. Rejects when the signal aborts before. */
  enter(chain: string | undefined, signal: AbortSignal): Promise<void> | undefined {
    if (this.#depth === 0) {
      this.#take(chain);
      return undefined;
    }
    if (this.isNested(chain)) {
      if (this.#depth >= this.#depthMax) throw errors.ACTOR_STACK_DEPTH();
      this.#depth++;
      return undefined;
    }
    if (this.#queue.length >= queuedMax) throw errors.CALLS_LIMIT(String(queuedMax));
    return this.#wait(chain, signal);
  }

  leave(): void {
    this.#depth--;
    if (this.#depth > 0) return;
    const next = this.#queue.shift();
    if (next === undefined) return;
    this.#take(next.chain);
    next.enter();
  }

  #take(chain: string | undefined): void {
    this.#chain = chain;
    this.#depth = 1;
  }

  #wait(chain: string | undefined, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        chain,
        enter() {
          signal.removeEventListener("abort", give);
          resolve();
        },
      };
      const give = (): void => {
        const index = this.#queue.indexOf(waiting);
        if (index >= 0) this.#queue.splice(index, 1);
        reject(signal.reason);
      };
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener("abort", give, { once: true });
      this.#queue.push(waiting);
    });
  }
}

/** Calls that may wait for one actor. */
const queuedMax = 10_000;
