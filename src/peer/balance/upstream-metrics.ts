import type { Counter, Metrics } from "../../telemetry/telemetry.ts";
import type { OverflowKind } from "./connection-pool.ts";
import type { Outcome, Upstream } from "./upstream.ts";

interface Cells {
  ok: Counter;
  error: Counter;
  local: Counter;
}

/** What one caller's policy for one app counts. The metrics' own bound on label sets holds for instances too. */
export class UpstreamMetrics {
  readonly #metrics: Metrics;
  readonly #labels: { app_id: string; app: string };
  readonly #cells = new WeakMap<Upstream, Cells>();

  constructor(metrics: Metrics, appId: string, app: string) {
    this.#metrics = metrics;
    this.#labels = { app_id: appId, app };
  }

  ended(upstream: Upstream, { origin, status }: Outcome): void {
    if (origin === "none") return;
    const cells = this.#cellsOf(upstream);
    (origin === "local" ? cells.local : status >= 500 ? cells.error : cells.ok).add();
  }

  ejected(upstream: Upstream): void {
    this.#metrics.counter("mecha/upstream/ejections_total", this.#of(upstream)).add();
  }

  healthy(upstream: Upstream, isHealthy: boolean): void {
    this.#metrics.gauge("mecha/upstream/healthy", this.#of(upstream)).set(isHealthy ? 1 : 0);
  }

  overflow(kind: OverflowKind): void {
    this.#metrics.counter(`mecha/upstream/rq_${kind}_overflow_total`, this.#labels).add();
  }

  panic(): void {
    this.#metrics.counter("mecha/upstream/panic_total", this.#labels).add();
  }

  #of({ instance }: Upstream): Record<string, string> {
    return { ...this.#labels, instance: instance.instanceId };
  }

  #cellsOf(upstream: Upstream): Cells {
    const known = this.#cells.get(upstream);
    if (known !== undefined) return known;
    const counter = (result: string): Counter =>
      this.#metrics.counter("mecha/upstream/rq_total", { ...this.#of(upstream), result });
    const cells = { ok: counter("ok"), error: counter("error"), local: counter("unreached") };
    this.#cells.set(upstream, cells);
    return cells;
  }
}
