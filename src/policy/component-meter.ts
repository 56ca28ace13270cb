import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";

/** Whose calls are measured, and under which family of names: `state` gives `component_state_count`. */
export interface ComponentMeterLabels {
  family: string;
  appId: string;
  namespace: string;
  component: string;
}

interface Cells {
  count: Counter;
  latencies: Histogram;
}

/** Counts and times the calls of one component (dapr-api.md §16.1). Cells are bound at the first use of each. */
export class ComponentMeter {
  readonly #metrics: Metrics;
  readonly #labels: ComponentMeterLabels;
  readonly #succeeded = new Map<string, Cells>();
  readonly #failed = new Map<string, Cells>();

  constructor(metrics: Metrics, labels: ComponentMeterLabels) {
    this.#metrics = metrics;
    this.#labels = labels;
  }

  /** An empty operation is no label. */
  record(operation: string, isSuccess: boolean, tookMs: number): void {
    const known = isSuccess ? this.#succeeded : this.#failed;
    let cells = known.get(operation);
    if (cells === undefined) {
      cells = this.#bind(operation, isSuccess);
      known.set(operation, cells);
    }
    cells.count.add();
    cells.latencies.record(tookMs);
  }

  #bind(operation: string, isSuccess: boolean): Cells {
    const { family, appId, namespace, component } = this.#labels;
    const labels = {
      ...{ app_id: appId, component, namespace, success: String(isSuccess) },
      ...(operation !== "" && { operation }),
    };
    return {
      count: this.#metrics.counter(`component_${family}_count`, labels),
      latencies: this.#metrics.histogram(`component_${family}_latencies`, labels),
    };
  }
}
