import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { realSockets, type SocketListener, type Sockets } from "../../edges/sockets.ts";
import type { Http2Stream } from "../http2/http2-stream.ts";
import type { RequestHead } from "../http2/request-head.ts";
import { type ConnectionHost, ServerConnection } from "../http2/server-connection.ts";
import { acceptedEncodings } from "./compression.ts";
import {
  concurrentStreamsMax,
  connectionsMax,
  connectionWindowBytes,
  defaultMaxMessageBytes,
  streamWindowBytes,
} from "./limits.ts";
import { parseGrpcTimeout } from "./metadata.ts";
import { serveProxy } from "./proxy.ts";
import { refuse, ServerCall } from "./server-call.ts";
import { serveStream, serveUnary } from "./server-methods.ts";
import { grpcCode } from "./status.ts";
import { GrpcError, type GrpcLookup } from "./types.ts";

export interface GrpcServerOptions {
  lookup: GrpcLookup;
  /** What is listened on; the system's when absent. */
  sockets?: Sockets | undefined;
  /** Limit of one received message, after inflating; 4 MiB when absent. */
  maxMessageBytes?: number | undefined;
  /** Limit of request metadata as HTTP/2 counts it; 64 KiB when absent. */
  maxHeaderListBytes?: number | undefined;
  /** Takes HTTP/2 requests that are not gRPC; without it they get 415. */
  onOtherRequest?: ((stream: Http2Stream, head: RequestHead) => void) | undefined;
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

class Http2GrpcServer implements GrpcServer, ConnectionHost {
  readonly settings: ConnectionHost["settings"];
  readonly #options: GrpcServerOptions;
  readonly #maxMessageBytes: number;
  readonly #listeners = new Set<SocketListener>();
  /** With the calls that run on each. */
  readonly #connections = new Map<ServerConnection, Set<ServerCall>>();
  #isClosing = false;

  constructor(options: GrpcServerOptions) {
    const { maxMessageBytes = defaultMaxMessageBytes, maxHeaderListBytes = 64 * 1024, idleMs } = options;
    this.#options = options;
    this.#maxMessageBytes = maxMessageBytes;
    this.settings = {
      streamWindowBytes,
      connectionWindowBytes,
      concurrentStreamsMax,
      maxHeaderListBytes,
      idleMs,
    };
  }

  async listen(address: ListenAddress): Promise<ListenAddress> {
    const { sockets = realSockets } = this.#options;
    const listener = await sockets.listen(address, { onConnection: (socket) => this.handleSocket(socket) });
    this.#listeners.add(listener);
    const bound = listener.address;
    return "port" in bound && "host" in address ? { host: address.host, port: bound.port } : bound;
  }

  handleSocket(socket: Duplex): void {
    if (this.#isClosing || this.#connections.size >= connectionsMax) {
      socket.on("error", ignore);
      socket.destroy();
    } else this.#connections.set(new ServerConnection(socket as Socket, this), new Set());
  }

  async close({ graceMs = 0 }: { graceMs?: number } = {}): Promise<void> {
    this.#isClosing = true;
    const stopped = [...this.#listeners].map((listener) => listener.close());
    this.#listeners.clear();
    const drained = [...this.#connections].map(([connection, calls]) =>
      connection.drain(graceMs, () => giveUp(calls)),
    );
    await Promise.all([...drained, ...stopped]);
  }

  closed(connection: ServerConnection): void {
    this.#connections.delete(connection);
  }

  accept(stream: Http2Stream, head: RequestHead, connection: ServerConnection): void {
    if (!isGrpc(head.header("content-type"))) {
      if (this.#options.onOtherRequest !== undefined) this.#options.onOtherRequest(stream, head);
      else answerOther(stream, 415, "gRPC is spoken here: content-type application/grpc is expected");
      return;
    }
    const call = this.#startCall(stream, head, connection);
    if (call === undefined) return;
    this.#connections.get(connection)?.add(call);
    this.#dispatch(call, connection);
  }

  /** The checks of the request line; `undefined` when the stream has been answered. */
  #startCall(stream: Http2Stream, head: RequestHead, connection: ServerConnection): ServerCall | undefined {
    if (head.method !== "POST") {
      answerOther(stream, 405, "gRPC calls are POSTs", { allow: "POST" });
      return undefined;
    }
    const timeout = head.header("grpc-timeout");
    const timeoutMs = timeout === undefined ? undefined : parseGrpcTimeout(timeout);
    if (timeout !== undefined && timeoutMs === undefined) {
      refuse(stream, new GrpcError(grpcCode.INTERNAL, `malformed grpc-timeout: ${timeout}`));
      return undefined;
    }
    if (timeoutMs !== undefined && timeoutMs <= 0) {
      refuse(stream, new GrpcError(grpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"));
      return undefined;
    }
    const call = new ServerCall(stream, head, { peer: peerOf(connection), timeoutMs });
    call.onClose = () => this.#connections.get(connection)?.delete(call);
    return call;
  }

  #dispatch(call: ServerCall, { socket }: ServerConnection): void {
    try {
      const method = this.#options.lookup(call.path, call.metadata, socket);
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
function giveUp(calls: ReadonlySet<ServerCall>): void {
  const reason = new GrpcError(grpcCode.UNAVAILABLE, "the server is shutting down");
  for (const call of [...calls]) call.abort(reason);
}

function answerOther(
  stream: Http2Stream,
  status: number,
  text: string,
  headers: Record<string, string> = {},
): void {
  const body = Buffer.from(text);
  stream.sendHead({
    ":status": status,
    "content-type": "text/plain",
    "content-length": body.length,
    ...headers,
  });
  stream.end(body);
  stream.stopUpload();
}

function peerOf({ remoteAddress, remotePort }: ServerConnection): string {
  return remoteAddress === undefined ? "unix" : `${remoteAddress}:${remotePort}`;
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
