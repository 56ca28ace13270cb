import type { Socket } from "node:net";
import { realSockets, type Sockets } from "../../edges/sockets.ts";
import type { HttpHandler, HttpRequest } from "./types.ts";

export interface HttpServerOptions {
  handler: HttpHandler;
  /** What is listened on. Default: the system's. */
  sockets?: Sockets;
  /** Bytes of start line and fields; more is answered with 431. Default 64 KiB. */
  maxHeaderBytes?: number;
  /** Field lines of one head; more is answered with 431. Default 512. */
  maxFields?: number;
  /** From a head's first byte to its last. Default 10 s. */
  headTimeoutMs?: number;
  /** How long a connection may be idle between requests. Default 75 s. */
  keepAliveTimeoutMs?: number;
  /** How long a body may make no progress, coming or going, because of the peer. Default 5 min. */
  stallTimeoutMs?: number;
  /** Unread request bytes that are read and thrown away after the reply, to keep the connection. Default 256 KiB. */
  drainBytesMax?: number;
  /** Bytes of further pipelined requests kept while one is handled; then the socket is held back. Default 64 KiB. */
  pipelinedBytesMax?: number;
  /** Connections of all listeners together; one more is answered with 503. Default 10,000. */
  maxConnections?: number;
  /** Adds `Date` to replies that have none. Default false. */
  sendsDate?: boolean;
  /** Takes over a connection that begins with the HTTP/2 preface; nothing of it has been consumed. */
  onHttp2?: (socket: Socket) => void;
  /** Hears of handlers that threw or answered nonsense; the client has been answered with 500. */
  onHandlerError?: (error: unknown, request: HttpRequest) => void;
}

export type ServerSettings = Required<Omit<HttpServerOptions, "onHttp2" | "onHandlerError">> &
  Pick<HttpServerOptions, "onHttp2" | "onHandlerError">;

export function serverSettings(options: HttpServerOptions): ServerSettings {
  return {
    handler: options.handler,
    sockets: options.sockets ?? realSockets,
    maxHeaderBytes: options.maxHeaderBytes ?? 64 * 1024,
    maxFields: options.maxFields ?? 512,
    headTimeoutMs: options.headTimeoutMs ?? 10_000,
    keepAliveTimeoutMs: options.keepAliveTimeoutMs ?? 75_000,
    stallTimeoutMs: options.stallTimeoutMs ?? 300_000,
    drainBytesMax: options.drainBytesMax ?? 256 * 1024,
    pipelinedBytesMax: options.pipelinedBytesMax ?? 64 * 1024,
    maxConnections: options.maxConnections ?? 10_000,
    sendsDate: options.sendsDate ?? false,
    onHttp2: options.onHttp2,
    onHandlerError: options.onHandlerError,
  };
}
