import type { Clock } from "../edges/clock.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";

type CallType = "unary" | "streaming";

interface Answers {
  counter: Counter;
  latency: Histogram;
}

/** Dapr's service invocation measurements (dapr-api.md §16.1), their cells looked up once per label set. */
export class InvocationMetrics {
  readonly #metrics: Metrics;
  readonly #appId: string;
  readonly #clock: Clock;
  readonly #sent = { unary: new Cells<Counter>(), streaming: new Cells<Counter>() };
  readonly #answers = { unary: new CellsByStatus<Answers>(), streaming: new CellsByStatus<Answers>() };
  readonly #received = new Cells<Counter>();
  readonly #replies = new CellsByStatus<Counter>();

  constructor(metrics: Metrics, appId: string, clock: Clock) {
    this.#metrics = metrics;
    this.#appId = appId;
    this.#clock = clock;
  }

  /** A call goes out; call the answer with the status it ended with. */
  sent(callee: string, type: CallType): (status: string) => void {
    const startMs = this.#clock.monotonicMs();
    this.#sent[type].of(callee, () => this.#counter("req_sent", { dst_app_id: callee, type })).add();
    return (status) => {
      const { counter, latency } = this.#answers[type].of(callee, status, () => ({
        counter: this.#counter("res_recv", { src_app_id: callee, status, type }),
        latency: this.#latency(callee, status),
      }));
      counter.add();
      latency.record(this.#clock.monotonicMs() - startMs);
    };
  }

  /** A call from another app has come in. */
  received(caller: string): (status: string) => void {
    this.#received.of(caller, () => this.#counter("req_recv", { src_app_id: caller })).add();
    return (status) => {
      const open = () => this.#counter("res_sent", { dst_app_id: caller, status });
      this.#replies.of(caller, status, open).add();
    };
  }

  #counter(kind: string, labels: Record<string, string>): Counter {
    const name = `runtime_service_invocation_${kind}_total`;
    return this.#metrics.counter(name, { app_id: this.#appId, ...labels });
  }

  #latency(callee: string, status: string): Histogram {
    return this.#metrics.histogram("runtime_service_invocation_res_recv_latency_ms", {
      app_id: this.#appId,
      src_app_id: callee,
      status,
    });
  }
}

/** Ids of callees and callers come from outside. */
const cellsMax = 1000;

/** Cells by the id of the other app. */
class Cells<C> {
  readonly #byApp = new Map<string, C>();

  of(app: string, open: () => C): C {
    let cell = this.#byApp.get(app);
    if (cell === undefined) {
      cell = open();
      if (this.#byApp.size < cellsMax) this.#byApp.set(app, cell);
    }
    return cell;
  }
}

/** There are few statuses. */
class CellsByStatus<C> {
  readonly #byStatus = new Cells<Cells<C>>();

  of(app: string, status: string, open: () => C): C {
    return this.#byStatus.of(status, () => new Cells()).of(app, open);
  }
}
