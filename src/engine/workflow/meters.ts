import type { Counter, Histogram, Metrics } from "../../telemetry/telemetry.ts";
import type { AppName } from "./names.ts";

export type OperationName = "create_workflow" | "get_workflow" | "add_event" | "purge_workflow";
export type ExecutionStatus = "success" | "failed" | "terminated" | "recoverable";

/** Dapr's workflow metrics (dapr-api.md §16.1). Cells are bound once per label set. */
export class WorkflowMeters {
  readonly #metrics: Metrics;
  readonly #labels: Record<string, string>;
  readonly #cells = new Map<string, { count: Counter; latency: Histogram }>();

  readonly #histograms = new Map<string, Histogram>();

  constructor(metrics: Metrics, { appId, namespace }: AppName) {
    this.#metrics = metrics;
    this.#labels = { app_id: appId, namespace };
  }

  operation(operation: OperationName, isSuccess: boolean, tookMs: number): void {
    const status = isSuccess ? "success" : "failed";
    this.#record("runtime_workflow_operation", { operation, status }, tookMs);
  }

  workflow(workflowName: string, status: ExecutionStatus, tookMs: number): void {
    this.#record("runtime_workflow_execution", { workflow_name: workflowName, status }, tookMs);
  }

  activity(activityName: string, status: ExecutionStatus, tookMs: number): void {
    this.#record("runtime_workflow_activity_execution", { activity_name: activityName, status }, tookMs);
  }

  /** The way of an activity from the turn that began it to a worker. */
  activityOperation(activityName: string, tookMs: number): void {
    this.#record(
      "runtime_workflow_activity_operation",
      { activity_name: activityName, status: "success" },
      tookMs,
    );
  }

  /** From when an instance should begin to its first turn. */
  scheduling(workflowName: string, tookMs: number): void {
    this.#histogram("runtime_workflow_scheduling_latency", { workflow_name: workflowName }).record(tookMs);
  }

  /** How much of the largest possible message a turn or an activity takes. */
  workflowPayload(workflowName: string, ratio: number): void {
    this.#histogram("runtime_workflow_payload_size_ratio", { workflow_name: workflowName }).record(ratio);
  }

  activityPayload(workflowName: string, activityName: string, ratio: number): void {
    const labels = { workflow_name: workflowName, activity_name: activityName };
    this.#histogram("runtime_workflow_activity_payload_size_ratio", labels).record(ratio);
  }

  #histogram(name: string, labels: Record<string, string>): Histogram {
    const key = keyOf(name, labels);
    let histogram = this.#histograms.get(key);
    if (histogram === undefined) {
      if (this.#histograms.size >= cellsMax) this.#histograms.clear();
      histogram = this.#metrics.histogram(name, { ...this.#labels, ...labels });
      this.#histograms.set(key, histogram);
    }
    return histogram;
  }

  #record(name: string, labels: Record<string, string>, tookMs: number): void {
    const key = keyOf(name, labels);
    let cells = this.#cells.get(key);
    if (cells === undefined) {
      // Names of workflows come from apps: the registry bounds its cells, and so does this map.
      if (this.#cells.size >= cellsMax) this.#cells.clear();
      const all = { ...this.#labels, ...labels };
      cells = {
        count: this.#metrics.counter(`${name}_count`, all),
        latency: this.#metrics.histogram(`${name}_latency`, all),
      };
      this.#cells.set(key, cells);
    }
    cells.count.add();
    cells.latency.record(tookMs);
  }
}

function keyOf(name: string, labels: Record<string, string>): string {
  return `${name}\0${Object.values(labels).join("\0")}`;
}

const cellsMax = 1000;
