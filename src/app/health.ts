import type { Clock, ClockTimer } from "../edges/clock.ts";
import type { Log } from "../telemetry/telemetry.ts";

export interface HealthSettings {
  probeIntervalMs: number;
  probeTimeoutMs: number;
  /** Consecutive failures after which the app counts as unhealthy. */
  threshold: number;
}

export interface AppHealthOptions {
  settings: HealthSettings;
  /** Asks the app once; answers why it is not healthy, or `undefined` when it is. */
  probe(signal: AbortSignal): Promise<string | undefined>;
  clock: Clock;
  log: Log;
}

/** A hint asks for a probe now, but not more often than this. */
const hintIntervalMs = 1000;

/**
 * What the probes say of an app (dapr-api.md §5.5): unhealthy until the first success, then until `threshold`
 * failures in a row.
 */
export class AppHealth {
  readonly #options: AppHealthOptions;
  readonly #listeners = new Set<(isHealthy: boolean) => void>();
  #failures: number;
  #timer: ClockTimer | undefined;
  #probing: AbortController | undefined;
  #hintedAtMs = Number.NEGATIVE_INFINITY;
  #isStarted = false;
  #isClosed = false;

  constructor(options: AppHealthOptions) {
    this.#options = options;
    this.#failures = options.settings.threshold;
  }

  get isHealthy(): boolean {
    return this.#failures < this.#options.settings.threshold;
  }

  onChange(listener: (isHealthy: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Probes now and then once per interval. */
  start(): void {
    if (this.#isStarted || this.#isClosed) return;
    this.#isStarted = true;
    this.#options.log.info({}, "App health probes starting");
    this.#tick();
  }

  /** The outcome of an app call: one that contradicts what is known is looked into at once. */
  hint(wasAnswered: boolean): void {
    if (!this.#isStarted || wasAnswered === this.isHealthy) return;
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#hintedAtMs < hintIntervalMs) return;
    this.#hintedAtMs = nowMs;
    void this.#probeOnce();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#probing?.abort();
    this.#listeners.clear();
  }

  #tick(): void {
    if (this.#isClosed) return;
    const { clock, settings } = this.#options;
    this.#timer = clock.setTimer(settings.probeIntervalMs, () => this.#tick(), { background: true });
    void this.#probeOnce();
  }

  async #probeOnce(): Promise<void> {
    if (this.#probing || this.#isClosed) return;
    const { clock, settings, probe } = this.#options;
    const probing = new AbortController();
    this.#probing = probing;
    const timeout = clock.setTimer(
      settings.probeTimeoutMs,
      () => probing.abort(new Error("probe timed out")),
      {
        background: true,
      },
    );
    let failure: string | undefined;
    try {
      failure = await probe(probing.signal);
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    } finally {
      timeout.cancel();
      this.#probing = undefined;
    }
    if (!this.#isClosed) this.#record(failure);
  }

  #record(failure: string | undefined): void {
    const wasHealthy = this.isHealthy;
    this.#failures = failure === undefined ? 0 : this.#failures + 1;
    if (wasHealthy === this.isHealthy) return;
    if (this.isHealthy) this.#options.log.info({}, "App entered healthy status");
    else this.#options.log.warn({ reason: failure }, "App entered un-healthy status");
    for (const listener of this.#listeners) listener(this.isHealthy);
  }
}
