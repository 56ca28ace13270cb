import type { HrTime } from "@opentelemetry/api";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Log } from "./telemetry.ts";

/** `tracing.stdout`: a line of the log per span, worded as daprd words it. */
export function logExporter(log: Log): SpanExporter {
  const lines = log.scope("dapr.runtime.trace");
  return {
    export(spans, done) {
      for (const span of spans) lines.info(span.attributes, lineOf(span));
      done({ code: 0 });
    },
    shutdown: () => Promise.resolve(),
  };
}

function lineOf(span: ReadableSpan): string {
  const { traceId, spanId } = span.spanContext();
  const parent = span.parentSpanContext?.spanId ?? "0000000000000000";
  const times = `[${instant(span.startTime)} ->  ${instant(span.endTime)}]`;
  return `[${span.name}] Trace: ${traceId} Span: ${parent}/${spanId} Time: ${times} Annotations: []`;
}

function instant([seconds, nanoseconds]: HrTime): string {
  const micros = String(Math.floor(nanoseconds / 1000)).padStart(6, "0");
  return new Date(seconds * 1000).toISOString().replace(".000Z", `.${micros}Z`);
}
