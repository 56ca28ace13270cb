import type { Counter, Histogram, Metrics } from "../../telemetry/telemetry.ts";
import type { AppIdentity } from "./topics.ts";

interface Cells {
  count: Counter;
  latencies: Histogram;
}

/** Deliveries of one subscription, with Dapr's names and labels (dapr-api.md §16.1). Cells are bound on first use. */
export class IngressMeter {
  readonly #metrics: Metrics;
  readonly #labels: Record<string, string>;
  readonly #cells = new Map<string, Cells>();
  readonly #bulkEvents = new Map<string, Counter>();
  #bulk: Cells | undefined;

  constructor(metrics: Metrics, identity: AppIdentity, component: string, topic: string) {
    this.#metrics = metrics;
    this.#labels = { app_id: identity.appId, component, namespace: identity.namespace, topic };
  }

  /** `status` is Dapr's second label: `success` when a drop was nobody's failure; empty: as the first. */
  record(processStatus: "success" | "retry" | "drop", status: "" | "success", elapsedMs: number): void {
    const key = status === "" ? processStatus : `${processStatus}/${status}`;
    let cells = this.#cells.get(key);
    if (cells === undefined) {
      const labels = { ...this.#labels, process_status: processStatus, status: status || processStatus };
      cells = cellsOf(this.#metrics, "component_pubsub_ingress", labels);
      this.#cells.set(key, cells);
    }
    cells.count.add();
    cells.latencies.record(elapsedMs);
  }

  recordBulk(elapsedMs: number): void {
    this.#bulk ??= cellsOf(this.#metrics, "component_pubsub_ingress_bulk", this.#labels);
    this.#bulk.count.add();
    this.#bulk.latencies.record(elapsedMs);
  }

  recordBulkEvents(processStatus: "success" | "retry" | "drop", count: number): void {
    let counter = this.#bulkEvents.get(processStatus);
    if (counter === undefined) {
      const labels = { ...this.#labels, process_status: processStatus };
      counter = this.#metrics.counter("component_pubsub_ingress_bulk_event_count", labels);
      this.#bulkEvents.set(processStatus, counter);
    }
    counter.add(count);
  }
}

/** Publications to one topic. */
export class EgressMeter {
  readonly #single: (isSuccess: boolean) => Cells;
  readonly #bulk: (isSuccess: boolean) => Cells;
  readonly #events: Counter;

  constructor(metrics: Metrics, identity: AppIdentity, component: string, topic: string) {
    const labels = { app_id: identity.appId, component, namespace: identity.namespace, topic };
    this.#single = bySuccess(metrics, "component_pubsub_egress", labels);
    this.#bulk = bySuccess(metrics, "component_pubsub_egress_bulk", labels);
    this.#events = lazyCounter(() =>
      metrics.counter("component_pubsub_egress_bulk_event_count", { ...labels, success: "true" }),
    );
  }

  record(isSuccess: boolean, elapsedMs: number): void {
    const cells = this.#single(isSuccess);
    cells.count.add();
    cells.latencies.record(elapsedMs);
  }

  recordBulk(isSuccess: boolean, events: number, elapsedMs: number): void {
    const cells = this.#bulk(isSuccess);
    cells.count.add();
    cells.latencies.record(elapsedMs);
    if (events > 0) this.#events.add(events);
  }
}

function bySuccess(metrics: Metrics, name: string, labels: Record<string, string>): (ok: boolean) => Cells {
  let succeeded: Cells | undefined;
  let failed: Cells | undefined;
  return (ok) => {
    if (ok) succeeded ??= cellsOf(metrics, name, { ...labels, success: "true" });
    else failed ??= cellsOf(metrics, name, { ...labels, success: "false" });
    return (ok ? succeeded : failed) as Cells;
  };
}

function lazyCounter(bind: () => Counter): Counter {
  let counter: Counter | undefined;
  return {
    add: (count) => {
      counter ??= bind();
      counter.add(count);
    },
  };
}

function cellsOf(metrics: Metrics, name: string, labels: Record<string, string>): Cells {
  return {
    count: metrics.counter(`${name}_count`, labels),
    latencies: metrics.histogram(`${name}_latencies`, labels),
  };
}
