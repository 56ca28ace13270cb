import type { Duplex } from "node:stream";
import type { SecureContext, SecureVersion, TLSSocket } from "node:tls";
import type { Cancellation } from "../../kit/cancellation.ts";

export type { Cancellation };

/** Header lines as on the wire: name, value, name, value … in order, case kept. */
export type RawHeaders = string[];

/** A message body that is read at most once, whole or in pieces, with back-pressure. */
export interface Body extends AsyncIterable<Uint8Array> {
  /** Bytes announced by Content-Length, 0 when there is no body, `undefined` when chunked. */
  readonly size: number | undefined;
  /** True: `bytes()` is synchronous now. */
  readonly isReady?: boolean;
  /**
   * The whole body. Synchronous when it has already arrived (the common small request), so that a hot path need
   * not wait a tick. Throws or rejects with `BodyTooLarge` beyond `limit` bytes, with `BodyAborted` when the peer left.
   */
  bytes(limit: number): Uint8Array | Promise<Uint8Array>;
}

export interface HttpRequest {
  readonly method: string;
  /** Raw request target as sent, never normalised or decoded: `/v1.0/state/s/a%2Fb?x=1`. */
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  /** Value by lower-case name; several lines are joined by ", ". */
  header(lowerName: string): string | undefined;
  readonly body: Body;
  /** Without the `::ffff:` of IPv4 in IPv6; empty on a Unix socket. */
  readonly remoteAddress: string;
  /** What the request came by: only to be compared. */
  readonly connection?: object | undefined;
  /** Aborts when the client goes away before the reply ended. Created on first use. */
  readonly signal: AbortSignal;
  /** The same for the hot path: an AbortSignal that is listened to costs 6 µs of CPU in Bun, this costs nothing. */
  readonly cancellation?: Cancellation | undefined;
}

export interface HttpReply {
  status: number;
  reason?: string | undefined;
  headers: RawHeaders;
  /** Bytes and text get a Content-Length; a stream is chunked unless the headers carry Content-Length. */
  body?: Uint8Array | string | AsyncIterable<Uint8Array> | undefined;
  /** Sent many times as it is: what is worked out of its headers is kept with it. */
  isRepeated?: boolean | undefined;
  /** Only with 101: called with the raw socket after the head has been written (WebSocket pass-through). */
  takeOver?: ((socket: Duplex, head: Uint8Array) => void) | undefined;
}

export type HttpHandler = (request: HttpRequest) => HttpReply | Promise<HttpReply>;

export interface HttpResponse {
  readonly status: number;
  readonly reason: string;
  readonly rawHeaders: RawHeaders;
  header(lowerName: string): string | undefined;
  readonly body: Body;
  /** Present after a 101: the raw socket and the bytes that followed the head. */
  readonly upgrade?: { socket: Duplex; head: Uint8Array } | undefined;
}

export interface HttpAddress {
  host: string;
  port: number;
  /** Present: TLS with these options. */
  tls?: HttpTls | undefined;
  /** Present: a Unix socket instead of host and port. */
  socketPath?: string | undefined;
}

export interface HttpTls {
  serverName?: string;
  ca?: string | string[];
  cert?: string;
  key?: string;
  rejectUnauthorized?: boolean;
  /** Instead of ca, cert and key: made before. `identity` has to tell it apart from others. */
  secureContext?: SecureContext;
  minVersion?: SecureVersion;
  /** Who connects, with which certificates, to whom: connections of different ones are never shared. */
  identity?: string;
  /** Connections may be channels of one, where the peer agrees. */
  mayShare?: boolean;
  /** Judges the peer after the handshake, before anything is sent. Throws to refuse it. */
  verify?(socket: TLSSocket): void;
}

export interface HttpClientRequest {
  method: string;
  target: string;
  /** Host, Content-Length and Transfer-Encoding are added by the client when they are missing. */
  headers: RawHeaders;
  body?: Uint8Array | string | Body | AsyncIterable<Uint8Array> | undefined;
  signal?: AbortSignal | undefined;
  /** Instead of `signal`; listened to until the response has ended. */
  cancellation?: Cancellation | undefined;
  /** Until the response head has arrived. */
  timeoutMs?: number | undefined;
  /**
   * Whether a request whose kept-alive connection died before a byte of the answer may be sent once more on a new
   * one (never with a streamed body). Default: for idempotent methods, so not for POST and PATCH.
   */
  isReplayable?: boolean | undefined;
  /** Instead of the client's own. */
  limits?: ConnectionLimits | undefined;
}

/** Of the connection that a request opens or uses. */
export interface ConnectionLimits {
  connectTimeoutMs: number;
  /** `undefined`: the client's own. */
  idleTimeoutMs: number | undefined;
  /** 0: no limit. */
  maxRequests: number;
}

/** A pooled HTTP/1.1 client: keep-alive connections per address, bounded, no redirects, no proxies, no decoding. */
export interface HttpClient {
  request(address: HttpAddress, request: HttpClientRequest): Promise<HttpResponse>;
  close(): void;
}
