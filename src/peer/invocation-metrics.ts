import type { Clock } from "../edges/clock.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";

/** Dapr's service invocation measurements (dapr-api.md §16.1), their cells looked up once per label set. */
export class InvocationMetrics {
  readonly #metrics: Metrics;
  readonly #appId: string;
  readonly #clock: Clock;
  readonly #cells = new Map<string, Counter>();
  readonly #latencies = new Map<string, Histogram>();

  constructor(metrics: Metrics, appId: string, clock: Clock) {
    this.#metrics = metrics;
    this.#appId = appId;
    this.#clock = clock;
  }

  /** A call goes out; call the answer with the status it ended with. */
  sent(callee: string, type: "unary" | "streaming"): (status: string) => void {
    const startMs = this.#clock.monotonicMs();
    this.#counter("req_sent", { dst_app_id: callee, type }).add();
    return (status) => {
      this.#counter("res_recv", { src_app_id: callee, status, type }).add();
      this.#latency(callee, status).record(this.#clock.monotonicMs() - startMs);
    };
  }

  /** A call from another app has come in. */
  received(caller: string): (status: string) => void {
    this.#counter("req_recv", { src_app_id: caller }).add();
    return (status) => this.#counter("res_sent", { dst_app_id: caller, status }).add();
  }

  #counter(kind: string, labels: Record<string, string>): Counter {
    const key = `${kind}|${Object.values(labels).join("|")}`;
    let cell = this.#cells.get(key);
    if (!cell) {
      const name = `runtime_service_invocation_${kind}_total`;
      cell = this.#metrics.counter(name, { app_id: this.#appId, ...labels });
      if (this.#cells.size < cellsMax) this.#cells.set(key, cell);
    }
    return cell;
  }

  #latency(callee: string, status: string): Histogram {
    const key = `${callee}|${status}`;
    let cell = this.#latencies.get(key);
    if (!cell) {
      cell = this.#metrics.histogram("runtime_service_invocation_res_recv_latency_ms", {
        app_id: this.#appId,
        src_app_id: callee,
        status,
      });
      if (this.#latencies.size < cellsMax) this.#latencies.set(key, cell);
    }
    return cell;
  }
}

/** Ids of callees and callers come from outside. */
const cellsMax = 1000;
