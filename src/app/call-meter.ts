import { grpcCodeGoName } from "../net/grpc/status.ts";
import { CellTable } from "../telemetry/cell-table.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";
import { verbLabel } from "../telemetry/verb-label.ts";

/** How calls of an app are labelled: as the Configuration says, asked anew for each call because it may change. */
export interface CallLabels {
  pathOf(path: string): string;
  readonly excludesVerbs: boolean;
}

interface Cells {
  completed: Counter;
  latency: Histogram;
}

/** Counts and times mecha's calls of its app, and its probes, under Dapr's names (dapr-api.md §16.1). */
export class AppCallMeter {
  readonly #metrics: Metrics;
  readonly #appId: string;
  readonly #labels: CallLabels;
  readonly #http: CellTable<Cells>;
  readonly #sent: CellTable<Histogram>;
  readonly #received: Histogram;
  readonly #grpc: CellTable<Cells>;
  readonly #grpcSizes: CellTable<{ sent: Histogram; received: Histogram }>;

  constructor(metrics: Metrics, appId: string, labels: CallLabels) {
    this.#metrics = metrics;
    this.#appId = appId;
    this.#labels = labels;
    this.#http = new CellTable((path, method, status) =>
      this.#cells("http/client/completed_count", "http/client/roundtrip_latency", { path, method, status }),
    );
    this.#sent = new CellTable((path, method) =>
      metrics.histogram("http/client/sent_bytes", { app_id: appId, path, method }),
    );
    this.#received = metrics.histogram("http/client/received_bytes", { app_id: appId });
    this.#grpc = new CellTable((path, _verb, status) => this.#grpcCells(path, status));
    this.#grpcSizes = new CellTable((path) => ({
      sent: metrics.histogram("grpc.io/client/sent_bytes_per_rpc", grpcLabels(appId, path)),
      received: metrics.histogram("grpc.io/client/received_bytes_per_rpc", grpcLabels(appId, path)),
    }));
  }

  /** `target` may have a query; sizes that are not known yet are left out. */
  http(call: {
    method: string;
    target: string;
    status: number;
    sentBytes: number | undefined;
    receivedBytes: number | undefined;
    tookMs: number;
  }): void {
    const { target } = call;
    const query = target.indexOf("?");
    const path = this.#labels.pathOf(query < 0 ? target : target.slice(0, query));
    const verb = verbLabel(call.method, this.#labels.excludesVerbs);
    const cells = this.#http.find(path, verb, String(call.status));
    cells.completed.add();
    cells.latency.record(call.tookMs);
    if (call.sentBytes !== undefined) this.#sent.find(path, verb, "").record(call.sentBytes);
    if (call.receivedBytes !== undefined) this.#received.record(call.receivedBytes);
  }

  grpc(path: string, code: number, tookMs: number): void {
    const cells = this.#grpc.find(path, "", grpcCodeGoName(code));
    cells.completed.add();
    cells.latency.record(tookMs);
  }

  grpcSizes(path: string, sentBytes: number, receivedBytes: number): void {
    const sizes = this.#grpcSizes.find(path, "", "");
    sizes.sent.record(sentBytes);
    sizes.received.record(receivedBytes);
  }

  /** `status`: an HTTP status, or a gRPC code of a gRPC app. */
  probed(protocol: "http" | "grpc", status: number, tookMs: number): void {
    const labels: Record<string, string> =
      protocol === "http" ? { status: String(status) } : { grpc_client_status: grpcCodeGoName(status) };
    const family = protocol === "http" ? "http/healthprobes" : "grpc.io/healthprobes";
    const cells = this.#cells(`${family}/completed_count`, `${family}/roundtrip_latency`, labels);
    cells.completed.add();
    cells.latency.record(tookMs);
  }

  #grpcCells(path: string, status: string): Cells {
    const labels = { grpc_client_method: path, grpc_client_status: status };
    return this.#cells("grpc.io/client/completed_rpcs", "grpc.io/client/roundtrip_latency", labels);
  }

  #cells(count: string, latency: string, labels: Record<string, string>): Cells {
    const all = { app_id: this.#appId, ...labels };
    return { completed: this.#metrics.counter(count, all), latency: this.#metrics.histogram(latency, all) };
  }
}

function grpcLabels(appId: string, method: string): Record<string, string> {
  return { app_id: appId, grpc_client_method: method };
}
