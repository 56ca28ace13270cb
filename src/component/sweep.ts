import type { ClockTimer } from "../edges/clock.ts";
import type { Edges } from "../edges/edges.ts";
import type { Log } from "../telemetry/telemetry.ts";

export interface SweepOptions {
  edges: Edges;
  log: Log;
  /** 0 or less: never. */
  cleanupIntervalMs: number;
}

/** Removes expired keys of a store again and again, until it is cancelled. A failure is logged, and the next comes all the same. */
export class ExpirySweep {
  readonly #options: SweepOptions;
  readonly #clean: () => Promise<void>;
  #timer: ClockTimer | undefined;

  constructor(options: SweepOptions, clean: () => Promise<void>) {
    this.#options = options;
    this.#clean = clean;
    this.#arm();
  }

  cancel(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    const { edges, log, cleanupIntervalMs } = this.#options;
    if (cleanupIntervalMs <= 0) return;
    const sweep = (): void => {
      this.#clean().catch((error: unknown) => log.warn({ error }, "expired keys could not be removed"));
      this.#arm();
    };
    this.#timer = edges.clock.setTimer(cleanupIntervalMs, sweep, { background: true });
  }
}
