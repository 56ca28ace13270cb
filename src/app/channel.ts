import type { GrpcClient, Metadata } from "../net/grpc/types.ts";
import type { Body, Cancellation, HttpReply, RawHeaders } from "../net/http1/types.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";

/** How mecha calls one application: over HTTP or gRPC, within its concurrency limit, with its token. */
export interface AppChannel {
  readonly protocol: "http" | "grpc";
  /** Health as the probes see it; always true without health checks. */
  readonly isHealthy: boolean;
  onHealthChange(listener: (isHealthy: boolean) => void): () => void;

  /** An HTTP call to the app (HTTP channels only). Adds the token, Host, trace headers. No redirects, no retries. */
  http(request: AppHttpRequest): Promise<AppHttpResponse>;
  /** The gRPC connection to the app (gRPC channels only); calls go through `withSlot`. */
  readonly grpc: GrpcClient | undefined;
  /** Metadata every gRPC call to the app carries: token and trace. */
  grpcMetadata(trace: SpanContext | undefined): Metadata;
  /** Counts a proxied call, which nobody else sees the end of. */
  proxied?(path: string, code: number, tookMs: number): void;
  /** Runs within app-max-concurrency. */
  /** Calls need no slot. */
  readonly isUnlimited?: boolean;
  withSlot<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;

  /** What stands before calls of others to the app; absent: nothing. */
  inbound?: InboundLayer | undefined;

  /** Resolves when the app accepts connections on its port. Waits for ever unless aborted. */
  waitUntilReachable(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Decides whether a call reaches the app, and sees what it answers. */
export interface InboundLayer {
  handle(call: InboundHttpCall, next: (whole?: WholeCall) => Promise<HttpReply>): Promise<HttpReply>;
}

export interface InboundHttpCall {
  method: string;
  target: string;
  headers: RawHeaders;
  body: Body;
  bodyBytesMax: number;
  trace: SpanContext | undefined;
}

/** A call whose body was read, and that goes on when its caller has left. */
export interface WholeCall {
  body: Uint8Array;
  signal: AbortSignal;
}

export interface AppHttpRequest {
  method: string;
  /** Raw target, beginning with a slash. */
  target: string;
  headers: RawHeaders;
  body?: Uint8Array | string | Body | AsyncIterable<Uint8Array> | undefined;
  trace?: SpanContext | undefined;
  signal?: AbortSignal | undefined;
  /** In place of `signal`, which is then only looked at when the call has to wait for a slot. */
  cancellation?: Cancellation | undefined;
  timeoutMs?: number | undefined;
}

export interface AppHttpResponse {
  status: number;
  reason: string;
  rawHeaders: RawHeaders;
  header(lowerName: string): string | undefined;
  body: Body;
  /** Present after a 101. */
  takeOver?: HttpReply["takeOver"];
}
