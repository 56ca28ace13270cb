import { CellTable } from "../telemetry/cell-table.ts";
import type { Counter, Histogram, Metrics } from "../telemetry/telemetry.ts";
import { verbLabel } from "../telemetry/verb-label.ts";
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
    const cells = new CellTable<Cells>((path, verb, status) => bind(subject, path, verb, status));
    // Bound at the first call: most methods are never called, and a histogram is many lines.
    let sizes: Sizes | undefined;
    const verbOf = (verb: string): string => (verb === "" ? "" : verbLabel(verb, http.excludeVerbs));
    return (call) => {
      const startedMs = performance.now();
      sizes ??= bindSizes(subject);
      const { received, sent } = sizes;
      received.record(call.requestBytes);
      return observed(next, call, subject, (outcome: Outcome) => {
        const found = cells.find(call.metricPath, verbOf(call.verb), outcome.status);
        for (const count of found.counts) count.add();
        found.latency.record(performance.now() - startedMs);
        sent.record(outcome.bytes);
      });
    };
  },
};

function bind<R>(subject: Subject<R>, path: string, verb: string, status: string): Cells {
  const { metrics } = subject.telemetry;
  return subject.protocol === "http"
    ? bindHttp(
        metrics,
        { app_id: subject.appId, method: verb, path, status },
        subject.configuration.metrics.http.increasedCardinality,
      )
    : bindGrpc(metrics, { app_id: subject.appId, grpc_server_method: path, grpc_server_status: status });
}

/** Dapr has the second, equal counter only beside the many labels of old. */
function bindHttp(metrics: Metrics, labels: Record<string, string>, isIncreased: boolean): Cells {
  const counts = isIncreased ? ["request_count", "response_count"] : ["request_count"];
  return {
    counts: counts.map((name) => metrics.counter(`http/server/${name}`, labels)),
    latency: metrics.histogram("http/server/latency", labels),
  };
}

function bindGrpc(metrics: Metrics, labels: Record<string, string>): Cells {
  return {
    counts: [metrics.counter("grpc.io/server/completed_rpcs", labels)],
    latency: metrics.histogram("grpc.io/server/server_latency", labels),
  };
}

interface Sizes {
  received: Histogram;
  sent: Histogram;
}

function bindSizes<R>({ telemetry, protocol, appId, operation }: Subject<R>): Sizes {
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
