import { errors } from "../../errors.ts";
import type { ConnectionPoolSpec } from "../../resource/traffic.ts";

/** What a call takes of the pool: HTTP/1.1 a connection of its own, gRPC a stream. */
export interface PoolUse {
  isHttp1: boolean;
  isRetry: boolean;
}

export type OverflowKind = "pending" | "active" | "retry";

/** The limits of one caller on one target: what is too much fails at once, before it can pile up. */
export class ConnectionPool {
  readonly #spec: ConnectionPoolSpec;
  readonly #id: string;
  readonly #onOverflow: (kind: OverflowKind) => void;
  readonly #waiting = new Set<() => void>();
  #active = 0;
  #connections = 0;
  #retries = 0;

  constructor(spec: ConnectionPoolSpec, id: string, onOverflow: (kind: OverflowKind) => void) {
    this.#spec = spec;
    this.#id = id;
    this.#onOverflow = onOverflow;
  }

  get pending(): number {
    return this.#waiting.size;
  }

  async run<T>(use: PoolUse, signal: () => AbortSignal, work: () => Promise<T>): Promise<T> {
    if (use.isRetry && this.#retries >= this.#spec.maxRetries) throw this.#overflow("retry");
    if (use.isHttp1 && this.#connections >= this.#spec.maxConnections) await this.#wait(signal());
    if (this.#active >= this.#spec.http2MaxRequests) throw this.#overflow("active");
    this.#move(use, 1);
    try {
      return await work();
    } finally {
      this.#move(use, -1);
      this.#wake();
    }
  }

  /** A stream goes on after it was opened; answers how to give its place back. */
  hold(): () => void {
    let isHeld = true;
    this.#active++;
    return () => {
      if (isHeld) this.#active--;
      isHeld = false;
    };
  }

  #move({ isHttp1, isRetry }: PoolUse, by: 1 | -1): void {
    this.#active += by;
    if (isHttp1) this.#connections += by;
    if (isRetry) this.#retries += by;
  }

  /** Who has waited longest goes on; a place is not taken by one that comes in between. */
  async #wait(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.#spec.http1MaxPendingRequests) throw this.#overflow("pending");
    while (this.#connections >= this.#spec.maxConnections) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const go = (): void => {
          this.#waiting.delete(go);
          signal.removeEventListener("abort", go);
          resolve();
        };
        this.#waiting.add(go);
        signal.addEventListener("abort", go, { once: true });
      });
    }
    signal.throwIfAborted();
  }

  #wake(): void {
    const [next] = this.#waiting;
    if (next !== undefined && this.#connections < this.#spec.maxConnections) next();
  }

  #overflow(kind: OverflowKind): Error {
    this.#onOverflow(kind);
    return errors.POLICY(`overflow: ${texts[kind]} to ${this.#id}`);
  }
}

const texts: Record<OverflowKind, string> = {
  pending: "too many requests wait for a connection",
  active: "too many requests are under way",
  retry: "too many retries are under way",
};
