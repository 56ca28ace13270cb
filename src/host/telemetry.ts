import type { Configuration } from "../resource/resource.ts";
import { createLog } from "../telemetry/log.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import type { Log, Metrics, Tracer } from "../telemetry/telemetry.ts";
import { createTracer } from "../telemetry/tracer.ts";
import type { RuntimeOptions } from "./options.ts";
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

export function openMetrics(configuration: Configuration): Metrics {
  return createMetrics({
    latencyBuckets: configuration.metrics.latencyDistributionBuckets,
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

/** Tracing costs nothing without an exporter: its SDK is not even loaded. */
export async function openTracer(appId: string, configuration: Configuration): Promise<Tracer> {
  const { samplingRate, stdout, zipkin, otel } = configuration.tracing;
  if (!stdout && zipkin === undefined && otel === undefined) return createTracer(samplingRate, undefined);
  const { openOtelSink } = await import("../telemetry/otel-sink.ts");
  return createTracer(samplingRate, await openOtelSink(appId, { stdout, zipkin, otel }));
}
