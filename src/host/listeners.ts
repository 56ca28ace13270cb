import { mkdirSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import type { SocketAddress, SocketListener, Sockets } from "../edges/sockets.ts";
import { serveHttp2Request } from "../net/grpc/http2-request.ts";
import { createGrpcServer, type GrpcLookup, type GrpcServer } from "../net/grpc/index.ts";
import { createHttpServer, type HttpHandler, type HttpServer } from "../net/http1/index.ts";
import { TrunkServer } from "../net/trunk/server.ts";
import { isPortTaken } from "./ports.ts";

export interface ListenerOptions {
  http?: HttpHandler;
  grpc?: GrpcLookup;
  sockets: Sockets;
  maxBodyBytes: number;
  readBufferBytes: number;
  /** DAPR_HTTP_DISABLE_H2C. */
  isH2cOff?: boolean;
  onError: (error: unknown) => void;
  /** Judges connections before anything of them is read: TLS. */
  front?: SecureFront | undefined;
}

/** Takes a connection as it comes, and hands it on when it is clear who is at the other end. */
export type SecureFront = (socket: Socket, into: FrontTargets) => void;

export interface FrontTargets {
  http1(socket: Socket): void;
  http2(socket: Socket): void;
  /** One that carries others: each is told to `onChannel` before anything of it is read. */
  trunk(socket: Socket, onChannel: (channel: Socket) => void): void;
  /** Without TLS. */
  plain(socket: Socket): void;
  /** Connections without TLS end with the requests that are under way on them. */
  retirePlain(): void;
}

/** Never asked: a port without HTTP has no HTTP server before it. */
const notHere: HttpHandler = () => ({ status: 404, headers: [] });

/** A gRPC connection without calls is let go after this, as daprd does. */
const idleGrpcMs = 180_000;
/** Streams of connections without TLS are cut so long after it was required. */
const retiredGraceMs = 30_000;

/** One port (or Unix socket) that speaks HTTP/1.1, cleartext HTTP/2 and gRPC, as far as handlers are given. */
export interface Listener {
  /** Listens on each host; port 0 is chosen once and kept for the others. Resolves with the port. */
  listen(hosts: readonly string[], port: number): Promise<number>;
  listenSocket(folder: string, name: string): Promise<string>;
  close(graceMs: number): Promise<void>;
}

export function createListener(options: ListenerOptions): Listener {
  const { http, sockets } = options;
  const { httpServer, grpcServer, close } = createServers(options);
  // Where there is no HTTP/1.1 to be told apart, the first bytes need no second look.
  const plain = http === undefined ? grpcServer : httpServer;
  const trunks = new TrunkServer();
  const withoutTls = new RetiringServers(options);
  const secure =
    options.front &&
    secureServer(sockets, options.front, {
      http1: (socket) => httpServer.accept(socket),
      http2: (socket) => grpcServer.handleSocket(socket),
      trunk: (socket, onChannel) =>
        trunks.carry(socket, (channel) => {
          onChannel(channel);
          httpServer.accept(channel);
        }),
      plain: (socket) => withoutTls.accept(socket),
      retirePlain: () => withoutTls.retire(),
    });
  const front = secure ?? plain;
  return {
    async listen(hosts, port) {
      let bound = port;
      for (const host of hosts) bound = await listenOn(front, host, bound);
      return bound;
    },
    async listenSocket(folder, name) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const socketPath = join(folder, name);
      await front.listen({ socketPath });
      return socketPath;
    },
    async close(graceMs) {
      await secure?.close();
      await Promise.all([trunks.close(graceMs), close(graceMs), withoutTls.close(graceMs)]);
    },
  };
}

/** What answers connections without TLS beside those with it. */
class RetiringServers {
  readonly #options: ListenerOptions;
  readonly #retired = new Set<Servers>();
  #current: Servers | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  accept(socket: Socket): void {
    this.#current ??= createServers(this.#options);
    this.#current.httpServer.accept(socket);
  }

  retire(): void {
    const servers = this.#current;
    if (servers === undefined) return;
    this.#current = undefined;
    this.#retired.add(servers);
    void servers.close(retiredGraceMs).finally(() => this.#retired.delete(servers));
  }

  async close(graceMs: number): Promise<void> {
    const all = [...this.#retired, ...(this.#current ? [this.#current] : [])];
    await Promise.all(all.map((servers) => servers.close(graceMs)));
  }
}

interface Servers {
  httpServer: HttpServer;
  grpcServer: GrpcServer;
  close(graceMs: number): Promise<void>;
}

function createServers(options: ListenerOptions): Servers {
  const { http, grpc, sockets } = options;
  const grpcServer = createGrpcServer({
    lookup: grpc ?? (() => undefined),
    sockets,
    maxMessageBytes: options.maxBodyBytes,
    idleMs: idleGrpcMs,
    maxHeaderListBytes: Math.max(options.readBufferBytes, 64 << 10),
    onOtherRequest: http === undefined ? undefined : (stream, head) => serveHttp2Request(http, stream, head),
  });
  const httpServer = createHttpServer({
    handler: http ?? notHere,
    sockets,
    maxHeaderBytes: options.readBufferBytes,
    onHttp2: options.isH2cOff ? undefined : (socket) => grpcServer.handleSocket(socket),
    onHandlerError: options.onError,
  });
  return {
    httpServer,
    grpcServer,
    async close(graceMs) {
      await Promise.all([httpServer.close({ graceMs }), grpcServer.close({ graceMs })]);
    },
  };
}

function secureServer(sockets: Sockets, front: SecureFront, into: FrontTargets) {
  const listeners: SocketListener[] = [];
  return {
    async listen(address: SocketAddress): Promise<SocketAddress> {
      const onConnection = (socket: Socket): void => front(socket, into);
      const listener = await sockets.listen(address, { onConnection, allowHalfOpen: true });
      listeners.push(listener);
      return listener.address;
    },
    async close(): Promise<void> {
      await Promise.all(listeners.map((listener) => listener.close()));
    },
  };
}

async function listenOn(server: Pick<GrpcServer, "listen">, host: string, port: number): Promise<number> {
  try {
    const bound = await server.listen({ host, port });
    return "port" in bound ? bound.port : port;
  } catch (error) {
    // Machines without IPv6 answer EAFNOSUPPORT or EADDRNOTAVAIL: the IPv4 address is enough then.
    const { code } = error as NodeJS.ErrnoException;
    if (host === "::1" && (code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT" || code === "EINVAL"))
      return port;
    if (host === "::" && code === "EAFNOSUPPORT") return listenOn(server, "0.0.0.0", port);
    if (isPortTaken(error))
      throw new Error(`port ${port} on ${host} is taken by another process`, { cause: error });
    throw error;
  }
}
