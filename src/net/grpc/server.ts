import http2, { type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { realSockets, type SocketListener, type Sockets } from "../../edges/sockets.ts";
import { batched } from "./batched-socket.ts";
import { acceptedEncodings } from "./compression.ts";
import {
  concurrentStreamsMax,
  connectionWindowBytes,
  defaultMaxMessageBytes,
  sessionOptions,
  streamWindowBytes,
} from "./limits.ts";
import { parseGrpcTimeout } from "./metadata.ts";
import { serveProxy } from "./proxy.ts";
import { type PeerConnection, refuse, ServerCall } from "./server-call.ts";
import { serveStream, serveUnary } from "./server-methods.ts";
import { drainSession } from "./session-drain.ts";
import { grpcCode } from "./status.ts";
import { GrpcError, type GrpcLookup } from "./types.ts";

export interface GrpcServerOptions {
  lookup: GrpcLookup;
  /** What is listened on; the system's when absent. */
  sockets?: Sockets | undefined;
  /** Limit of one received message, after inflating; 4 MiB when absent. */
  maxMessageBytes?: number | undefined;
  /** Announced limit of request metadata; 64 KiB when absent (Bun refuses single headers above that anyway). */
  maxHeaderListBytes?: number | undefined;
  /** Takes HTTP/2 requests that are not gRPC; without it they get 415. */
  onOtherRequest?:
    | ((stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[]) => void)
    | undefined;
  /** A connection without calls is closed after this time; never when absent. */
  idleMs?: number | undefined;
}

export type ListenAddress = { host: string; port: number } | { socketPath: string };

export interface GrpcServer {
  /** Several addresses may be listened on. Resolves with the address as bound: port 0 is replaced. */
  listen(address: ListenAddress): Promise<ListenAddress>;
  /** Serves a connection accepted elsewhere, such as one whose first bytes were the HTTP/2 preface. */
  handleSocket(socket: Duplex): void;
  /** No new connections; calls in flight may end within `graceMs` (default 0), then everything is cut. */
  close(options?: { graceMs?: number }): Promise<void>;
}

export function createGrpcServer(options: GrpcServerOptions): GrpcServer {
  return new Http2GrpcServer(options);
}

class Http2GrpcServer implements GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #maxMessageBytes: number;
  readonly #http2: http2.Http2Server;
  readonly #listeners = new Set<SocketListener>();
  readonly #connections = new Map<ServerHttp2Session, PeerConnection>();
  #isClosing = false;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#maxMessageBytes = options.maxMessageBytes ?? defaultMaxMessageBytes;
    this.#http2 = http2.createServer({
      ...sessionOptions,
      settings: {
        initialWindowSize: streamWindowBytes,
        maxHeaderListSize: options.maxHeaderListBytes ?? 64 * 1024,
        maxConcurrentStreams: concurrentStreamsMax,
        enablePush: false,
      },
    } as http2.ServerOptions);
    this.#http2.on("session", (session) => this.#adopt(session));
    this.#http2.on("stream", (stream, headers, _flags, rawHeaders: string[]) => {
      this.#accept(stream as ServerHttp2Stream, headers, rawHeaders);
    });
    this.#http2.on("sessionError", () => {});
  }

  async listen(address: ListenAddress): Promise<ListenAddress> {
    // A plain listener: http2's own close() would send the final GOAWAY at once.
    const { sockets = realSockets } = this.#options;
    const listener = await sockets.listen(address, { onConnection: (socket) => this.handleSocket(socket) });
    this.#listeners.add(listener);
    const bound = listener.address;
    return "port" in bound && "host" in address ? { host: address.host, port: bound.port } : bound;
  }

  handleSocket(socket: Duplex): void {
    if (this.#isClosing) socket.destroy();
    else this.#http2.emit("connection", batched(socket));
  }

  async close({ graceMs = 0 }: { graceMs?: number } = {}): Promise<void> {
    this.#isClosing = true;
    const stopped = [...this.#listeners].map((listener) => listener.close());
    this.#listeners.clear();
    const connections = [...this.#connections.values()];
    await Promise.all(
      connections.map((connection) => drainSession(connection.session, graceMs, () => giveUp(connection))),
    );
    await Promise.all(stopped);
  }

  #adopt(session: ServerHttp2Session): void {
    const { socket } = session;
    const peer = socket.remoteAddress === undefined ? "unix" : `${socket.remoteAddress}:${socket.remotePort}`;
    const connection: PeerConnection = { session, peer, openStreams: 0, calls: new Set() };
    this.#connections.set(session, connection);
    session.setLocalWindowSize(connectionWindowBytes);
    session.on("close", () => this.#connections.delete(session));
    const { idleMs } = this.#options;
    if (idleMs === undefined) return;
    session.setTimeout(idleMs, () => {});
    session.on("timeout", () => {
      if (connection.openStreams === 0 && !session.closed)
        drainSession(session, 1000, () => giveUp(connection));
    });
  }

  #accept(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[]): void {
    stream.on("error", ignore);
    const connection = this.#connections.get(stream.session as ServerHttp2Session);
    if (connection === undefined) {
      stream.destroy();
      return;
    }
    connection.openStreams++;
    if (!isGrpc(headers["content-type"])) {
      stream.on("close", () => connection.openStreams--);
      this.#acceptOther(stream, headers, rawHeaders);
      return;
    }
    const call = this.#startCall(connection, stream, headers, rawHeaders);
    stream.on("close", () => {
      connection.openStreams--;
      if (call === undefined) return;
      connection.calls.delete(call);
      call.lose();
    });
    if (call === undefined) return;
    connection.calls.add(call);
    stream.on("aborted", () => call.lose());
    stream.on("wantTrailers", () => call.sendTrailers());
    this.#dispatch(call);
  }

  #acceptOther(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: string[]): void {
    if (this.#options.onOtherRequest !== undefined) this.#options.onOtherRequest(stream, headers, rawHeaders);
    else {
      stream.respond({ ":status": 415 }, { endStream: true });
      stream.resume();
    }
  }

  /** The checks of the request line; `undefined` when the stream has been answered. */
  #startCall(
    connection: PeerConnection,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: string[],
  ): ServerCall | undefined {
    if (headers[":method"] !== "POST") {
      stream.respond({ ":status": 405, allow: "POST" }, { endStream: true });
      stream.resume();
      return undefined;
    }
    const timeout = headers["grpc-timeout"] as string | undefined;
    const timeoutMs = timeout === undefined ? undefined : parseGrpcTimeout(timeout);
    if (timeout !== undefined && timeoutMs === undefined) {
      refuse(stream, new GrpcError(grpcCode.INTERNAL, `malformed grpc-timeout: ${timeout}`));
      return undefined;
    }
    if (timeoutMs !== undefined && timeoutMs <= 0) {
      refuse(stream, new GrpcError(grpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"));
      return undefined;
    }
    return new ServerCall(connection, stream, { headers, rawHeaders, timeoutMs });
  }

  #dispatch(call: ServerCall): void {
    try {
      const method = this.#options.lookup(call.path, call.metadata);
      if (method === undefined) throw unknownMethod(call.path);
      if (method.kind === "proxy") {
        serveProxy(call, method);
        return;
      }
      if (call.requestEncoding !== undefined && call.requestEncoding !== "gzip")
        throw unknownEncoding(call.requestEncoding);
      if (method.kind === "unary") serveUnary(call, method.handle, this.#maxMessageBytes);
      else serveStream(call, method.handle, this.#maxMessageBytes);
    } catch (error) {
      call.fail(error);
    }
  }
}

/** What still runs when the time is up ends with a status the client can act on. */
function giveUp(connection: PeerConnection): void {
  const reason = new GrpcError(grpcCode.UNAVAILABLE, "the server is shutting down");
  for (const call of connection.calls) call.abort(reason);
}

function isGrpc(contentType: string | undefined): boolean {
  if (contentType === "application/grpc") return true;
  return contentType !== undefined && /^application\/grpc(?:[+;]|$)/i.test(contentType);
}

function unknownMethod(path: string): GrpcError {
  const slash = path.lastIndexOf("/");
  if (slash <= 0) return new GrpcError(grpcCode.UNIMPLEMENTED, `malformed method name: "${path}"`);
  const text = `unknown method ${path.slice(slash + 1)} for service ${path.slice(1, slash)}`;
  return new GrpcError(grpcCode.UNIMPLEMENTED, text);
}

function unknownEncoding(encoding: string): GrpcError {
  return new GrpcError(
    grpcCode.UNIMPLEMENTED,
    `grpc: Decompressor is not installed for grpc-encoding "${encoding}"; accepted are ${acceptedEncodings}`,
  );
}

function ignore(): void {}
