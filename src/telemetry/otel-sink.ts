import { SpanKind as OtelKind, ROOT_CONTEXT, SpanStatusCode, TraceFlags, trace } from "@opentelemetry/api";
import { TraceState } from "@opentelemetry/core";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import type { GrpcClient } from "../net/grpc/types.ts";
import { logExporter } from "./log-exporter.ts";
import type { Log, Span, SpanContext, SpanKind } from "./telemetry.ts";
import type { SpanSink } from "./tracer.ts";
import { watchedExporter } from "./watched-exporter.ts";

export interface ExportTargets {
  stdout: boolean;
  zipkin?: { endpointAddress: string } | undefined;
  otel?: OtlpTarget | undefined;
}

export interface OtlpTarget {
  /** host:port, or a URL. */
  endpointAddress: string;
  isSecure: boolean;
  protocol: "http" | "grpc";
  headers: Record<string, string>;
  timeoutMs: number;
}

export interface SinkOptions {
  serviceName: string;
  /** Further attributes of the resource: `OTEL_RESOURCE_ATTRIBUTES`. */
  attributes?: Record<string, string>;
  targets: ExportTargets;
  log: Log;
  openGrpc(address: { host: string; port: number; isSecure: boolean }): GrpcClient;
  /** How long closing may wait for what is left to be exported: a dead collector must not hold a shutdown up. */
  closeWithinMs: number;
}

const kinds: Record<SpanKind, OtelKind> = {
  internal: OtelKind.INTERNAL,
  server: OtelKind.SERVER,
  client: OtelKind.CLIENT,
  producer: OtelKind.PRODUCER,
  consumer: OtelKind.CONSUMER,
};

const batchDelayMs = 1000;

/** Exports through OpenTelemetry's SDK. This module is imported lazily: it costs 30 ms and 17 MB. */
export async function openOtelSink(options: SinkOptions): Promise<SpanSink> {
  const exporters = await openExporters(options);
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": options.serviceName, ...options.attributes }),
    // Bounded: the processor drops spans beyond its queue of 2048.
    spanProcessors: exporters.map(
      (exporter) => new BatchSpanProcessor({ exporter, scheduledDelayMillis: batchDelayMs }),
    ),
  });
  const tracer = provider.getTracer("mecha");
  return {
    start(name, kind, parent, options) {
      const context =
        parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote(parent));
      const startTime = options === undefined ? {} : { startTime: options.startMs };
      const span = tracer.startSpan(name, { kind: kinds[kind], ...startTime }, context);
      if (options?.spanId !== undefined) span.spanContext().spanId = options.spanId;
      return recorded(span, parent?.traceState ?? "");
    },
    close() {
      const closed = provider.shutdown().catch(() => undefined);
      return Promise.race([closed, Bun.sleep(options.closeWithinMs)]).then(() => undefined);
    },
  };
}

type OtelSpan = ReturnType<ReturnType<TracerProvider["getTracer"]>["startSpan"]>;

function recorded(span: OtelSpan, traceState: string): Span {
  const { traceId, spanId } = span.spanContext();
  return {
    context: { traceId, spanId, sampled: true, traceState },
    isRecorded: true,
    rename: (name) => void span.updateName(name),
    set: (attribute, value) => void span.setAttribute(attribute, value),
    end(status) {
      if (status !== undefined && status.code !== 0) {
        span.setStatus({ code: SpanStatusCode.ERROR, message: status.message ?? "" });
      }
      span.end();
    },
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

async function openExporters({ targets, log, openGrpc }: SinkOptions): Promise<SpanExporter[]> {
  const { stdout, zipkin, otel } = targets;
  const exporters: SpanExporter[] = [];
  if (stdout) exporters.push(logExporter(log));
  if (zipkin !== undefined) {
    const { ZipkinExporter } = await import("@opentelemetry/exporter-zipkin");
    const exporter = new ZipkinExporter({ url: zipkin.endpointAddress });
    exporters.push(watchedExporter(exporter, withoutUser(zipkin.endpointAddress), log));
  }
  if (otel !== undefined) {
    const exporter = otel.protocol === "http" ? await otlpOverHttp(otel) : await otlpOverGrpc(otel, openGrpc);
    exporters.push(watchedExporter(exporter, withoutUser(otel.endpointAddress), log));
  }
  return exporters;
}

async function otlpOverHttp(target: OtlpTarget): Promise<SpanExporter> {
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
  const { headers, timeoutMs, endpointAddress, isSecure } = target;
  return new OTLPTraceExporter({
    headers,
    timeoutMillis: timeoutMs,
    url: otlpHttpUrl(endpointAddress, isSecure),
  });
}

async function otlpOverGrpc(target: OtlpTarget, openGrpc: SinkOptions["openGrpc"]): Promise<SpanExporter> {
  const { otlpGrpcExporter } = await import("./otlp-grpc-exporter.ts");
  const { headers, timeoutMs, isSecure } = target;
  const address = target.endpointAddress.replace(/^\w+:\/\//, "").replace(/\/.*$/, "");
  const colon = /:\d+$/.exec(address)?.index ?? address.length;
  const host = address.slice(0, colon).replace(/^\[|\]$/g, "");
  const port = Number(address.slice(colon + 1)) || otlpGrpcPort;
  return otlpGrpcExporter({ client: openGrpc({ host, port, isSecure }), headers, timeoutMs });
}

const otlpGrpcPort = 4317;

/** Dapr's `endpointAddress` is host:port; a URL and a path are tolerated. */
function otlpHttpUrl(address: string, isSecure: boolean): string {
  const base = /^\w+:\/\//.test(address) ? address : `${isSecure ? "https" : "http"}://${address}`;
  return /\/v1\/traces$/.test(base) ? base : `${base.replace(/\/$/, "")}/v1/traces`;
}

/** An address for people to read, without a password in it. */
function withoutUser(address: string): string {
  return address.replace(/\/\/[^/@]*@/, "//");
}
