import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { AdaptiveConcurrencySpec } from "../../resource/traffic.ts";

const gradientMin = 0.5;
const gradientMax = 2;
/** The fastest answer is measured anew after so many windows at the smallest limit. */
const windowsAtMinMax = 5;
/** Of one window: percentiles need no more. */
const samplesMax = 1000;

/**
 * Envoy's gradient controller: the limit follows the ratio of the fastest to the latest answer times, with the square root of
 * itself as headroom to grow by. Now and then a few requests at a time measure the fastest answer anew.
 */
export class Gradient {
  readonly #spec: AdaptiveConcurrencySpec;
  readonly #clock: Clock;
  readonly #random: Random;
  #samples: number[] = [];
  #limit: number;
  /** What the limit returns to after the measurement; 0: there is none. */
  #deferredLimit: number;
  #minRttMs = 0;
  #windowsAtMin = 0;
  #windowEndsMs: number;
  #measureAtMs = 0;
  #active = 0;

  constructor(spec: AdaptiveConcurrencySpec, parts: { clock: Clock; random: Random }) {
    this.#spec = spec;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#limit = spec.minConcurrency;
    this.#deferredLimit = spec.minConcurrency;
    this.#windowEndsMs = parts.clock.monotonicMs() + spec.concurrencyUpdateIntervalMs;
  }

  get limit(): number {
    return this.#limit;
  }

  get isMeasuring(): boolean {
    return this.#deferredLimit > 0;
  }

  /** `undefined`: the limit is reached. What is returned is called at the end; only answers of the target are samples. */
  enter(): ((isSample: boolean) => void) | undefined {
    this.#update();
    if (this.#active >= this.#limit) return undefined;
    this.#active++;
    const startedMs = this.#clock.monotonicMs();
    return (isSample) => {
      this.#active--;
      if (isSample) this.#sample(this.#clock.monotonicMs() - startedMs);
    };
  }

  #sample(rttMs: number): void {
    if (this.#samples.length < samplesMax) this.#samples.push(rttMs);
    else this.#samples[Math.floor(this.#random.next() * samplesMax)] = rttMs;
    if (this.isMeasuring) {
      if (this.#samples.length >= this.#spec.minRttRequestCount) this.#measured();
    } else this.#update();
  }

  #measured(): void {
    const { minRttIntervalMs, minRttJitterPercent, concurrencyUpdateIntervalMs } = this.#spec;
    const nowMs = this.#clock.monotonicMs();
    this.#minRttMs = this.#percentile();
    this.#limit = this.#deferredLimit;
    this.#deferredLimit = 0;
    this.#windowsAtMin = 0;
    this.#samples = [];
    this.#windowEndsMs = nowMs + concurrencyUpdateIntervalMs;
    this.#measureAtMs = nowMs + minRttIntervalMs * (1 + (this.#random.next() * minRttJitterPercent) / 100);
  }

  #update(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.isMeasuring) return;
    if (nowMs >= this.#measureAtMs) {
      this.#measure();
      return;
    }
    if (nowMs < this.#windowEndsMs) return;
    this.#windowEndsMs = nowMs + this.#spec.concurrencyUpdateIntervalMs;
    if (this.#samples.length === 0) return;
    const { maxConcurrencyLimit, minConcurrency, minRttBufferPercent } = this.#spec;
    const wantedMs = this.#minRttMs * (1 + minRttBufferPercent / 100);
    const gradient = clamp(wantedMs / Math.max(this.#percentile(), Number.EPSILON), gradientMin, gradientMax);
    const next = gradient * this.#limit;
    this.#limit = Math.floor(clamp(next + Math.sqrt(next), minConcurrency, maxConcurrencyLimit));
    this.#samples = [];
    this.#windowsAtMin = this.#limit <= minConcurrency ? this.#windowsAtMin + 1 : 0;
    if (this.#windowsAtMin >= windowsAtMinMax) this.#measure();
  }

  #measure(): void {
    this.#deferredLimit = Math.max(this.#limit, 1);
    this.#limit = Math.min(this.#spec.minConcurrency, this.#spec.maxConcurrencyLimit);
    this.#samples = [];
  }

  #percentile(): number {
    const sorted = [...this.#samples].sort((a, b) => a - b);
    const index = Math.ceil((this.#spec.sampleAggregatePercentile / 100) * sorted.length) - 1;
    return sorted[Math.max(0, index)] ?? 0;
  }
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), Math.max(min, max));
}
