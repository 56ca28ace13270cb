import { AppCallMeter } from "../app/call-meter.ts";
import { createGrpcClient } from "../net/grpc/client.ts";
import type { Configuration } from "../resource/resource.ts";
import { createLog } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import type { Log, Metrics, Telemetry, Tracer } from "../telemetry/telemetry.ts";
import { createTracer } from "../telemetry/tracer.ts";
import { appPathLabel } from "../transport/http/path-label.ts";
import type { RuntimeOptions } from "./options.ts";
import { resourceOf } from "./trace-environment.ts";
import { daprApiVersion } from "./version.ts";

/** The log of one app's runtime. */
export function openLog(options: RuntimeOptions, hostName: string, write: (line: string) => void): Log {
  return createLog({
    level: options.logLevel,
    asJson: options.logAsJson,
    appId: options.appId,
    instance: hostName,
    version: daprApiVersion,
    write,
  });
}

export function openMetrics({ metrics }: Configuration): Metrics {
  return createMetrics({
    latencyBuckets: metrics.latencyDistributionBuckets,
    rules: metrics.rules,
    isEnabled: metrics.enabled,
    collect: () => {
      const { rss } = process.memoryUsage();
      const { user, system } = process.cpuUsage();
      return {
        process_resident_memory_bytes: rss,
        process_cpu_seconds_total: (user + system) / 1e6,
        process_start_time_seconds: Math.round((Date.now() - process.uptime() * 1000) / 1000),
      };
    },
  });
}

/** Measures the calls of an app, labelled as its Configuration says at the time; `undefined` when metrics are off. */
export function openCallMeter(
  appId: string,
  { metrics }: Pick<Telemetry, "metrics">,
  resources: { readonly configuration: Configuration },
): AppCallMeter | undefined {
  let http = resources.configuration.metrics.http;
  if (!resources.configuration.metrics.enabled) return undefined;
  let label = appPathLabel(http);
  return new AppCallMeter(metrics, appId, {
    pathOf(path) {
      const current = resources.configuration.metrics.http;
      if (current !== http) {
        http = current;
        label = appPathLabel(http);
      }
      return label(path);
    },
    get excludesVerbs() {
      return resources.configuration.metrics.http.excludeVerbs;
    },
  });
}

export interface TracerRequest {
  appId: string;
  env: Readonly<Record<string, string | undefined>>;
  log: Log;
  /** Of the whole stop; what is left to export may take a part of it. */
  graceMs: number;
}

/** A tracer that follows the Configuration: a changed `tracing` section replaces its exporters. */
export interface FollowingTracer extends Tracer {
  follow(tracing: Configuration["tracing"]): Promise<void>;
}

export async function openTracer(
  request: TracerRequest,
  tracing: Configuration["tracing"],
): Promise<FollowingTracer> {
  let current = await openExporting(request, tracing);
  let print = JSON.stringify(tracing);
  return {
    start: (name, kind, parent, options) => current.start(name, kind, parent, options),
    close: () => current.close(),
    async follow(changed) {
      if (JSON.stringify(changed) === print) return;
      print = JSON.stringify(changed);
      const before = current;
      current = await openExporting(request, changed);
      await before.close();
    },
  };
}

const closeMsMax = 2000;

/** Tracing costs nothing without an exporter: its SDK is not even loaded. */
async function openExporting(
  { appId, env, log, graceMs }: TracerRequest,
  { samplingRate, stdout, zipkin, otel }: Configuration["tracing"],
): Promise<Tracer> {
  if (!stdout && zipkin === undefined && otel === undefined) return createTracer(samplingRate, undefined);
  const { openOtelSink } = await import("../telemetry/otel-sink.ts");
  const sink = await openOtelSink({
    ...resourceOf(appId, env),
    targets: { stdout, zipkin, otel },
    log,
    openGrpc: ({ host, port, isSecure }) =>
      createGrpcClient({ host, port }, { tls: isSecure ? { serverName: host } : undefined }),
    closeWithinMs: Math.min(closeMsMax, graceMs / 2),
  });
  return createTracer(samplingRate, sink);
}
