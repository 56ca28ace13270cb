import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { GrpcClient, Metadata } from "../net/grpc/types.ts";

export interface OtlpGrpcOptions {
  client: GrpcClient;
  headers: Record<string, string>;
  /** For one batch, repetitions included. */
  timeoutMs: number;
}

const path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/** Codes after which OTLP may be tried again: canceled, deadline, aborted, out of range, unavailable, data loss. */
const passing = new Set([1, 4, 10, 11, 14, 15]);
const firstPauseMs = 200;
const pauseMsMax = 5000;

/** OTLP over gRPC on mecha's own client: the SDK's exporter brings a second gRPC stack, and no executable can hold it. */
export function otlpGrpcExporter(options: OtlpGrpcOptions): SpanExporter {
  const stopping = new AbortController();
  const sending = new Set<Promise<void>>();
  return {
    export(spans, done) {
      const request = ProtobufTraceSerializer.serializeRequest(spans);
      if (request === undefined) return done({ code: 1, error: new Error("the spans can not be encoded") });
      const sent = send(options, request, stopping.signal).then(
        () => done({ code: 0 }),
        (error: Error) => done({ code: 1, error }),
      );
      sending.add(sent);
      void sent.finally(() => sending.delete(sent));
    },
    async shutdown() {
      stopping.abort();
      await Promise.all(sending);
      options.client.close();
    },
    forceFlush: () => Promise.all(sending).then(() => undefined),
  };
}

async function send(
  { client, headers, timeoutMs }: OtlpGrpcOptions,
  request: Uint8Array,
  stopping: AbortSignal,
): Promise<void> {
  const metadata: Metadata = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
  const deadlineMs = performance.now() + timeoutMs;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    try {
      await client.unary(path, request, { metadata, timeoutMs: Math.max(1, deadlineMs - performance.now()) });
      return;
    } catch (error) {
      const isOver = performance.now() + pauseMs > deadlineMs || stopping.aborted;
      if (isOver || !passing.has(codeOf(error))) throw error;
      await Bun.sleep(pauseMs);
    }
  }
}

function codeOf(error: unknown): number {
  return typeof error === "object" && error !== null && "code" in error ? Number(error.code) : 2;
}
