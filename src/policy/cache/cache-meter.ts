import type { Counter, Metrics } from "../../telemetry/telemetry.ts";

const results = ["hit", "miss", "stale", "revalidated", "collapsed", "bypass"] as const;
export type CacheResult = (typeof results)[number];

/** Counts what became of requests. */
export class CacheMeter {
  readonly counts: Record<CacheResult, number>;
  readonly #cells: Record<CacheResult, Counter>;

  constructor(metrics: Metrics, labels: { app_id: string; namespace: string; target: string }) {
    this.counts = Object.fromEntries(results.map((result) => [result, 0])) as Record<CacheResult, number>;
    this.#cells = Object.fromEntries(
      results.map((result) => [result, metrics.counter("http/cache/count", { ...labels, result })]),
    ) as Record<CacheResult, Counter>;
  }

  count(result: CacheResult): void {
    this.counts[result]++;
    this.#cells[result].add();
  }
}
