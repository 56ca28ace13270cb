import type { Counter, Histogram, Metrics } from "../../telemetry/telemetry.ts";
import type { AppName } from "./names.ts";

export type OperationName = "create_workflow" | "get_workflow" | "add_event" | "purge_workflow";
export type ExecutionStatus = "success" | "failed" | "terminated" | "recoverable";

/** Dapr's workflow metrics (dapr-api.md §16.1). Cells are bound once per label set. */
export class WorkflowMeters {
  readonly #metrics: Metrics;
  readonly #labels: Record<string, string>;
  readonly #cells = new Map<string, { count: Counter; latency: Histogram }>();

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

  #record(name: string, labels: Record<string, string>, tookMs: number): void {
    const key = `${name}\0${Object.values(labels).join("\0")}`;
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

const cellsMax = 1000;
