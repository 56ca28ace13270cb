import type { Sockets } from "../edges/sockets.ts";
import { createGrpcClient } from "../net/grpc/client.ts";
import { type GrpcCallOptions, type GrpcClient, GrpcError, type Metadata } from "../net/grpc/types.ts";
import { formatTraceBinary, formatTraceparent } from "../telemetry/propagation.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import type { AppCallMeter } from "./call-meter.ts";

export interface GrpcChannelOptions {
  host: string;
  port: number;
  /** grpcs: TLS without verification, as Dapr does for its own app. */
  isTls: boolean;
  maxMessageBytes: number;
  sockets?: Sockets | undefined;
  /** Told after each call whether the app answered at all. */
  onOutcome(wasAnswered: boolean): void;
  meter?: AppCallMeter | undefined;
}

const unavailable = 14;
const unknown = 2;

/** Probes are measured apart from calls. */
export const healthCheckMethod = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck";

/** The one connection to a gRPC app, made again when it is lost. */
export function openGrpcApp(options: GrpcChannelOptions): GrpcClient {
  const { host, port, isTls, maxMessageBytes, sockets, onOutcome } = options;
  const client = createGrpcClient(
    { host, port },
    { maxMessageBytes, sockets, tls: isTls ? { rejectUnauthorized: false } : undefined },
  );
  return {
    async unary(path: string, request: Uint8Array, call?: GrpcCallOptions): Promise<Uint8Array> {
      const meter = path === healthCheckMethod ? undefined : options.meter;
      const startedMs = performance.now();
      try {
        const reply = await client.unary(path, request, call);
        onOutcome(true);
        meter?.grpc(path, 0, performance.now() - startedMs);
        meter?.grpcSizes(path, request.length, reply.length);
        return reply;
      } catch (error) {
        meter?.grpc(path, error instanceof GrpcError ? error.code : unknown, performance.now() - startedMs);
        onOutcome(!(error instanceof GrpcError && error.code === unavailable));
        throw error;
      }
    },
    stream: (path, call) => client.stream(path, call),
    open: (headers, signal) => client.open(headers, signal),
    close: () => client.close(),
  };
}

/** Metadata of a call to the app: its token, and the trace in both spellings Dapr's SDKs look for. */
export function callMetadata(appToken: string | undefined, trace: SpanContext | undefined): Metadata {
  const metadata: Metadata = [];
  if (appToken !== undefined) metadata.push(["dapr-api-token", appToken]);
  if (trace === undefined) return metadata;
  metadata.push(["traceparent", formatTraceparent(trace)]);
  if (trace.traceState !== "") metadata.push(["tracestate", trace.traceState]);
  metadata.push(["grpc-trace-bin", formatTraceBinary(trace)]);
  return metadata;
}
