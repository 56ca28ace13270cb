import { type Clock, type ClockTimer, sleep } from "../../edges/clock.ts";
import { mapBounded } from "../../kit/bounded.ts";
import type { HealthCheckSpec } from "../../resource/traffic.ts";
import type { Instance } from "../instance.ts";
import type { Upstream } from "./upstream.ts";

/** Asks an instance once; anything but `true`, and being too late, is a failure. */
export type Probe = (instance: Instance, spec: HealthCheckSpec, signal: AbortSignal) => Promise<boolean>;

export interface HealthChecksOptions {
  spec: HealthCheckSpec;
  clock: Clock;
  probe: Probe;
  upstreams(): readonly Upstream[];
  /** Whether there were calls of late. */
  isBusy(): boolean;
  /** After each check. */
  checked(upstream: Upstream, hasChanged: boolean): void;
}

const checksMax = 16;
/** Envoy's: a target that nobody calls is asked less often. */
const idleIntervalMs = 60_000;

/** Checks all instances of a target in rounds; a round ends before the next one begins. */
export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #lifetime = new AbortController();
  #timer: ClockTimer | undefined;

  constructor(options: HealthChecksOptions) {
    this.#options = options;
    this.#timer = options.clock.setTimer(0, () => this.#begin(), { background: true });
  }

  close(): void {
    this.#timer?.cancel();
    this.#lifetime.abort();
  }

  #begin(): void {
    const { clock, spec, isBusy, upstreams } = this.#options;
    const startedMs = clock.monotonicMs();
    void mapBounded(upstreams(), checksMax, (upstream) => this.#check(upstream)).finally(() => {
      if (this.#lifetime.signal.aborted) return;
      const intervalMs = isBusy() ? spec.intervalMs : Math.max(spec.intervalMs, idleIntervalMs);
      const leftMs = Math.max(0, intervalMs - (clock.monotonicMs() - startedMs));
      this.#timer = clock.setTimer(leftMs, () => this.#begin(), { background: true });
    });
  }

  async #check(upstream: Upstream): Promise<void> {
    const { clock, spec, probe } = this.#options;
    const call = new AbortController();
    const late = sleep(clock, spec.timeoutMs, call.signal).then(() => false);
    const asked = probe(upstream.instance, spec, call.signal).catch(() => false);
    const isGood = await Promise.race([asked, late]);
    call.abort();
    if (!this.#lifetime.signal.aborted) this.#told(upstream, isGood);
  }

  #told(upstream: Upstream, isGood: boolean): void {
    const { check } = upstream;
    const { unhealthyThreshold, healthyThreshold } = this.#options.spec;
    check.successes = isGood ? check.successes + 1 : 0;
    check.failures = isGood ? 0 : check.failures + 1;
    const hasChanged = check.isFailing
      ? check.successes >= healthyThreshold
      : check.failures >= unhealthyThreshold;
    if (hasChanged) check.isFailing = !check.isFailing;
    this.#options.checked(upstream, hasChanged);
  }
}
