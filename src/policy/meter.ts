import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";
import { type Layer, type Outcome, observed, type Subject } from "./layer.ts";

/** Measurements of one label set. */
interface Cells {
  counts: readonly Counter[];
  latency: Histogram;
}

/** Counts and times operations under Dapr's names (dapr-api.md §16.1). */
export const meter: Layer = {
  name: "meter",
  wrap(next, subject) {
    const { enabled, http } = subject.configuration.metrics;
    if (!enabled) return undefined;
    const cells = new CellTable((path, verb, status) => bind(subject, path, verb, status));
    const sizes = bindSizes(subject);
    return (call) => {
      const startedMs = performance.now();
      sizes.received.record(call.requestBytes);
      return observed(next, call, subject, (outcome: Outcome) => {
        const found = cells.find(call.metricPath, http.excludeVerbs ? "" : call.verb, outcome.status);
        for (const count of found.counts) count.add();
        found.latency.record(performance.now() - startedMs);
        sizes.sent.record(outcome.bytes);
      });
    };
  },
};

/** Finds the cells of a call without putting a label set together. Paths are text of callers: their number is bounded. */
class CellTable {
  readonly #bind: (path: string, verb: string, status: string) => Cells;
  readonly #byStatus = new Map<string, Map<string, Cells>>();
  static readonly #pathsMax = 2000;

  constructor(bind: (path: string, verb: string, status: string) => Cells) {
    this.#bind = bind;
  }

  find(path: string, verb: string, status: string): Cells {
    // One table per route and verb: a route answers to few verbs, so the verb is part of the status key.
    const statusKey = verb + status;
    let byPath = this.#byStatus.get(statusKey);
    if (byPath === undefined) {
      byPath = new Map();
      this.#byStatus.set(statusKey, byPath);
    }
    let cells = byPath.get(path);
    if (cells !== undefined) return cells;
    const isFull = byPath.size >= CellTable.#pathsMax;
    cells = this.#bind(isFull ? "" : path, verb, status);
    byPath.set(isFull ? "" : path, cells);
    return cells;
  }
}

function bind<R>(subject: Subject<R>, path: string, verb: string, status: string): Cells {
  const { metrics } = subject.telemetry;
  return subject.protocol === "http"
    ? bindHttp(metrics, { app_id: subject.appId, method: verb, path, status })
    : bindGrpc(metrics, { app_id: subject.appId, grpc_server_method: path, grpc_server_status: status });
}

function bindHttp(metrics: Metrics, labels: Record<string, string>): Cells {
  return {
    counts: [
      metrics.counter("http/server/request_count", labels),
      metrics.counter("http/server/response_count", labels),
    ],
    latency: metrics.histogram("http/server/latency", labels),
  };
}

function bindGrpc(metrics: Metrics, labels: Record<string, string>): Cells {
  return {
    counts: [metrics.counter("grpc.io/server/completed_rpcs", labels)],
    latency: metrics.histogram("grpc.io/server/server_latency", labels),
  };
}

function bindSizes<R>({ telemetry, protocol, appId, operation }: Subject<R>): {
  received: Histogram;
  sent: Histogram;
} {
  const { metrics } = telemetry;
  if (protocol === "http") {
    return {
      received: metrics.histogram("http/server/request_bytes", { app_id: appId }),
      sent: metrics.histogram("http/server/response_bytes", { app_id: appId }),
    };
  }
  const labels = { app_id: appId, grpc_server_method: operation };
  return {
    received: metrics.histogram("grpc.io/server/received_bytes_per_rpc", labels),
    sent: metrics.histogram("grpc.io/server/sent_bytes_per_rpc", labels),
  };
}
