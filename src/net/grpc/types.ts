import type { TryOwner } from "../../kit/try-owner.ts";
import type { HeaderObject } from "../http2/header-encoder.ts";
import type { Http2Stream } from "../http2/http2-stream.ts";

/** Metadata in wire order, lower-case names; `-bin` values are base64 text without padding, as on the wire. */
export type Metadata = [name: string, value: string][];

/** What a gRPC handler knows of its call. */
export interface GrpcContext {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly metadata: Metadata;
  /** The host that was called, as the client named it. */
  readonly authority?: string | undefined;
  /** `application/grpc`, or with the name of an encoding behind it. */
  readonly contentType?: string | undefined;
  /** First value by lower-case name. */
  get(lowerName: string): string | undefined;
  /** Absolute, from grpc-timeout. */
  readonly deadlineMs: number | undefined;
  /** Aborts on cancel, deadline or a lost connection. Created on first use. */
  readonly signal: AbortSignal;
  readonly peer: string;
  /** What the request of a proxied call begins with; it goes on all the same. Others are read by their handlers. */
  requestStart(options: RequestStartOptions): Promise<RequestStart>;
  /** Header metadata of the reply; has to be set before the first message is sent. */
  readonly replyHeaders: Metadata;
  readonly replyTrailers: Metadata;
}

export interface RequestStartOptions {
  bytesMax: number;
  /** A start is of no use: messages that follow the first are waited for. */
  needsWhole: boolean;
}

/** What a request begins with, its messages in their frames. */
export interface RequestStart {
  bytes: Uint8Array;
  /** There is no more. */
  isWhole: boolean;
  /** It goes on after its first message, or may: nobody knows until when. */
  isStream: boolean;
}

export type UnaryHandler = (request: Uint8Array, context: GrpcContext) => Uint8Array | Promise<Uint8Array>;
/** `send` resolves when the flow-control window took the message. Returning ends the call with OK. */
export type StreamHandler = (
  requests: AsyncIterable<Uint8Array>,
  send: (message: Uint8Array) => Promise<void>,
  context: GrpcContext,
) => Promise<void>;

export type GrpcMethod = { kind: "unary"; handle: UnaryHandler } | { kind: "stream"; handle: StreamHandler };

/** Finds the method of a path; `undefined` ends the call with UNIMPLEMENTED. Called once per call. */
export type GrpcLookup = (
  path: string,
  metadata: Metadata,
  /** What the call came by: only to be compared. */
  connection?: object,
) => GrpcMethod | GrpcProxyTarget | undefined;

/** Hands the raw call to another server: frames pass through undecoded, all four streaming kinds. */
export interface GrpcProxyTarget {
  kind: "proxy";
  /** Chooses the connection and the metadata that goes upstream; throwing a GrpcError ends the call. */
  connect(context: GrpcContext): Promise<{
    client: GrpcClient;
    metadata: Metadata;
    policy?: ProxyPolicy | undefined;
    /** Given: the call is handled in one piece. */
    whole?: WholeCalls | undefined;
    /** Changes the head of the answer. */
    changeHead?: ((headers: HeaderObject) => HeaderObject) | undefined;
    /** Where copies of the call go whose answers nobody sees. */
    shadows?: readonly Shadowed[] | undefined;
    done?: (code: number) => void;
  }>;
}

export interface Shadowed {
  client: Pick<GrpcClient, "open">;
  metadata: Metadata;
  done(): void;
}

/** Handles proxied calls of one message whose answers may come from elsewhere. */
export interface WholeCalls {
  /** Of a request, and of an answer. */
  bytesMax: number;
  /** `send` makes the call itself. */
  handle(request: Uint8Array, send: (signal: AbortSignal) => Promise<WholeAnswer>): Promise<WholeAnswer>;
}

/** An answer as it came, its messages in their frames. */
export interface WholeAnswer {
  /** `undefined`: there were trailers only. */
  headers: HeaderObject | undefined;
  body: Uint8Array;
  trailers: HeaderObject;
  code: number;
}

/** Runs attempts of a proxied call until one is good or it gives up. Rejects with GrpcErrors. */
export interface ProxyPolicy {
  /** Whether a request has to be kept. */
  readonly hasRetries: boolean;
  run<T>(attempt: (signal: AbortSignal | undefined) => Promise<T>, options: ProxyRun<T>): Promise<T>;
}

export interface ProxyRun<T> {
  signal: AbortSignal;
  isRepeatable(): boolean;
  /** Metadata of the caller. */
  get?(lowerName: string): string | undefined;
  /** Which of several policies round each other tries again. */
  tries?: TryOwner;
  /** The status an attempt ended with. */
  codeOf(result: T): number;
}

/** An error with a gRPC status. `details` are encoded google.protobuf.Any messages for grpc-status-details-bin. */
export class GrpcError extends Error {
  readonly code: number;
  readonly details: Uint8Array[];
  readonly metadata: Metadata;
  constructor(
    code: number,
    message: string,
    options: { details?: Uint8Array[]; metadata?: Metadata; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "GrpcError";
    this.code = code;
    this.details = options.details ?? [];
    this.metadata = options.metadata ?? [];
  }
}

/** Header lines of HTTP as metadata. */
export function metadataOfLines(lines: readonly string[] = []): Metadata {
  const metadata: Metadata = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    metadata.push([(lines[i] as string).toLowerCase(), lines[i + 1] as string]);
  }
  return metadata;
}

export interface GrpcCallOptions {
  metadata?: Metadata;
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Receives header metadata of the answer. */
  onHeaders?: (metadata: Metadata) => void;
  /** Receives trailer metadata of an answer with status OK. */
  onTrailers?: (metadata: Metadata) => void;
}

export interface GrpcDuplex {
  send(message: Uint8Array): Promise<void>;
  /** No more requests. */
  end(): void;
  /** Ends normally with status OK; throws GrpcError otherwise. */
  responses: AsyncIterable<Uint8Array>;
  cancel(): void;
}

/** One HTTP/2 connection (re-made when lost) to a server. Failures of the connection are GrpcError UNAVAILABLE. */
export interface GrpcClient {
  unary(path: string, request: Uint8Array, options?: GrpcCallOptions): Promise<Uint8Array>;
  stream(path: string, options?: GrpcCallOptions): GrpcDuplex;
  /** A bare HTTP/2 stream with these request headers sent, for the proxy. Rejects with GrpcError UNAVAILABLE. */
  open(headers: HeaderObject, signal?: AbortSignal): Promise<Http2Stream>;
  close(): void;
}
