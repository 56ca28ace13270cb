import { SpanKind as OtelKind, ROOT_CONTEXT, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { TraceState } from "@opentelemetry/core";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ConsoleSpanExporter,
  type SpanExporter,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Span, SpanContext, SpanKind } from "./telemetry.ts";
import type { SpanSink } from "./tracer.ts";

export interface ExportTargets {
  stdout: boolean;
  zipkin?: { endpointAddress: string } | undefined;
  otel?:
    | {
        /** host:port, or a URL. */
        endpointAddress: string;
        isSecure: boolean;
        protocol: "http" | "grpc";
        headers: Record<string, string>;
        timeoutMs: number;
      }
    | undefined;
}

const kinds: Record<SpanKind, OtelKind> = {
  internal: OtelKind.INTERNAL,
  server: OtelKind.SERVER,
  client: OtelKind.CLIENT,
  producer: OtelKind.PRODUCER,
  consumer: OtelKind.CONSUMER,
};

/** Exports through OpenTelemetry's SDK. This module is imported lazily: it costs 30 ms and 17 MB. */
export async function openOtelSink(serviceName: string, targets: ExportTargets): Promise<SpanSink> {
  const exporters = await openExporters(targets);
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": serviceName }),
    spanProcessors: exporters.map(
      (exporter) => new BatchSpanProcessor({ exporter, scheduledDelayMillis: 1000 }),
    ),
  });
  const tracer = provider.getTracer("mecha");
  return {
    start(name, kind, parent) {
      const context =
        parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote(parent));
      const span = tracer.startSpan(name, { kind: kinds[kind] }, context);
      const { traceId, spanId } = span.spanContext();
      const own: SpanContext = { traceId, spanId, sampled: true, traceState: parent?.traceState ?? "" };
      return {
        context: own,
        set: (attribute, value) => void span.setAttribute(attribute, value),
        end(status) {
          if (status !== undefined && status.code !== 0) {
            span.setStatus({ code: SpanStatusCode.ERROR, message: status.message ?? "" });
          }
          span.end();
        },
      } satisfies Span;
    },
    // An unreachable collector must not hold the shutdown up: forceFlush blocks for seconds then.
    flush: () =>
      Promise.race([provider.forceFlush().catch(() => undefined), Bun.sleep(2000)]).then(() => undefined),
  };
}

function remote(parent: SpanContext) {
  return {
    traceId: parent.traceId,
    spanId: parent.spanId,
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
    ...(parent.traceState === "" ? {} : { traceState: new TraceState(parent.traceState) }),
  };
}

async function openExporters(targets: ExportTargets): Promise<SpanExporter[]> {
  const exporters: SpanExporter[] = [];
  if (targets.stdout) exporters.push(new ConsoleSpanExporter());
  if (targets.zipkin !== undefined) {
    const { ZipkinExporter } = await import("@opentelemetry/exporter-zipkin");
    exporters.push(new ZipkinExporter({ url: targets.zipkin.endpointAddress }));
  }
  const { otel } = targets;
  if (otel === undefined) return exporters;
  const options = { headers: otel.headers, timeoutMillis: otel.timeoutMs };
  if (otel.protocol === "http") {
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
    exporters.push(
      new OTLPTraceExporter({ ...options, url: otlpHttpUrl(otel.endpointAddress, otel.isSecure) }),
    );
  } else {
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc");
    const scheme = otel.isSecure ? "https" : "http";
    const address = otel.endpointAddress.replace(/^\w+:\/\//, "");
    exporters.push(new OTLPTraceExporter({ timeoutMillis: otel.timeoutMs, url: `${scheme}://${address}` }));
  }
  return exporters;
}

/** Dapr's `endpointAddress` is host:port; a URL and a path are tolerated. */
function otlpHttpUrl(address: string, isSecure: boolean): string {
  const base = /^\w+:\/\//.test(address) ? address : `${isSecure ? "https" : "http"}://${address}`;
  return /\/v1\/traces$/.test(base) ? base : `${base.replace(/\/$/, "")}/v1/traces`;
}
