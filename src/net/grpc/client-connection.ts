import { isIP, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Sockets } from "../../edges/sockets.ts";
import type { HttpTls } from "../http1/types.ts";
import { ClientSession } from "../http2/client-session.ts";
import type { HeaderObject } from "../http2/header-encoder.ts";
import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";
import { connectionWindowBytes, headerListBytesMax, streamWindowBytes } from "./limits.ts";
import { grpcCode } from "./status.ts";
import { GrpcError } from "./types.ts";

export type GrpcAddress = { host: string; port: number } | { socketPath: string };

export interface ConnectionOptions {
  sockets: Sockets;
  tls?: HttpTls | undefined;
  connectTimeoutMs: number;
  /** Time between pings while calls are open; no pings when absent. */
  keepaliveMs?: number | undefined;
  /** How long the answer to a ping may take. */
  keepaliveTimeoutMs: number;
}

/** One HTTP/2 session to a server, from the connecting socket to its loss. */
export class ClientConnection {
  /** Resolves when the server's SETTINGS have arrived: then it speaks HTTP/2 and its stream limit is known. */
  readonly ready: Promise<void>;
  /** The server said GOAWAY or the session ended: calls in flight may finish, new ones go elsewhere. */
  isDraining = false;
  isLost = false;
  /** Why it was lost, for the messages of the calls that died with it. */
  lossReason = "the connection was closed";
  activeCalls = 0;
  onLost: (() => void) | undefined;
  /** The server said GOAWAY. */
  onDraining: (() => void) | undefined;
  readonly #socket: Socket;
  readonly #waiters: (() => void)[] = [];
  #session: ClientSession | undefined;
  #keepalive: ReturnType<typeof setInterval> | undefined;

  /** Starts to connect; `ready` tells the outcome. */
  constructor(address: GrpcAddress, options: ConnectionOptions) {
    this.#socket = openSocket(address, options);
    this.ready = this.#becomeReady(address, options);
    this.ready.catch(ignore);
    if (options.keepaliveMs !== undefined) {
      this.#keepalive = setInterval(() => this.#ping(options.keepaliveTimeoutMs), options.keepaliveMs);
      this.#keepalive.unref();
    }
  }

  /** Of a connection that is ready. */
  get session(): ClientSession {
    if (this.#session === undefined) throw new Error("the connection is not ready");
    return this.#session;
  }

  #becomeReady(address: GrpcAddress, options: ConnectionOptions): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve, reject) => {
      const { connectTimeoutMs } = options;
      const late = setTimeout(
        () => this.destroy(`no HTTP/2 connection within ${connectTimeoutMs} ms`),
        connectTimeoutMs,
      );
      const lost = (): void => {
        clearTimeout(late);
        this.#lost();
        reject(new GrpcError(grpcCode.UNAVAILABLE, `${addressText(address)}: ${this.lossReason}`));
      };
      const onError = (error: Error): void => {
        this.lossReason = error.message;
      };
      const onClose = (): void => lost();
      socket.on("error", onError);
      socket.on("close", onClose);
      socket.once(options.tls === undefined ? "connect" : "secureConnect", () => {
        try {
          options.tls?.verify?.(socket as TLSSocket);
        } catch (error) {
          return this.destroy((error as Error).message);
        }
        if (!speaksHttp2(socket)) return this.destroy("the server does not speak HTTP/2 over TLS");
        socket.off("close", onClose);
        socket.off("error", onError);
        const onReady = (): void => {
          clearTimeout(late);
          resolve();
        };
        this.#session = this.#start(address, options, { onReady, lost });
      });
    });
  }

  #start(
    address: GrpcAddress,
    { tls }: ConnectionOptions,
    { onReady, lost }: { onReady(): void; lost(): void },
  ): ClientSession {
    const settings = {
      scheme: tls === undefined ? "http" : "https",
      authority: authorityOf(address),
      streamWindowBytes,
      connectionWindowBytes,
      maxHeaderListBytes: headerListBytesMax,
    } as const;
    return new ClientSession(this.#socket, settings, {
      onReady,
      onGoaway: () => {
        this.isDraining = true;
        this.#wakeAll();
        this.onDraining?.();
      },
      onClose: (reason) => {
        if (reason !== undefined) this.lossReason = reason;
        lost();
      },
    });
  }

  #lost(): void {
    if (this.isLost) return;
    this.isDraining = true;
    this.isLost = true;
    clearInterval(this.#keepalive);
    this.#wakeAll();
    this.onLost?.();
  }

  /** New calls may be opened on it. */
  get isUsable(): boolean {
    return !this.isDraining && this.#session?.isDraining === false;
  }

  destroy(reason: string): void {
    this.lossReason = reason;
    if (this.#session === undefined) this.#socket.destroy();
    else this.#session.destroy(reason);
  }

  /** Opens a stream and counts it until it is closed. */
  open(headers: HeaderObject, receiver: StreamReceiver): Http2Stream {
    const stream = this.session.open(headers, receiver);
    this.activeCalls++;
    stream.onRelease = () => this.release();
    return stream;
  }

  get hasRoom(): boolean {
    return this.activeCalls < (this.#session?.concurrentStreamsMax ?? 0);
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Resolves when a stream may be opened, or the connection is of no more use. */
  waitForRoom(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  release(): void {
    this.activeCalls--;
    this.wakeNext();
  }

  wakeNext(): void {
    if (this.#waiters.length > 0 && (this.isDraining || this.hasRoom)) this.#waiters.shift()?.();
  }

  #wakeAll(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #ping(timeoutMs: number): void {
    if (this.activeCalls === 0 || !this.#session || this.#session.isOver) return;
    const late = setTimeout(() => {
      this.destroy(`no answer to a keepalive ping within ${timeoutMs} ms`);
    }, timeoutMs);
    this.#session.ping(() => clearTimeout(late));
  }
}

function ignore(): void {}

/** A TLS server says so in the handshake. */
function speaksHttp2(socket: Socket): boolean {
  return !("encrypted" in socket) || (socket as TLSSocket).alpnProtocol === "h2";
}

function openSocket(address: GrpcAddress, { sockets, tls }: ConnectionOptions): Socket {
  if (tls === undefined) return sockets.connect(address);
  const { serverName, identity, verify, ...rest } = tls;
  const fallback = "host" in address && isIP(address.host) === 0 ? address.host : undefined;
  const name = serverName ?? fallback;
  const servername = name === undefined ? {} : { servername: name };
  return sockets.connect(address, { tls: { ...rest, ALPNProtocols: ["h2"], ...servername } });
}

function authorityOf(address: GrpcAddress): string {
  if ("socketPath" in address) return "localhost";
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

export function addressText(address: GrpcAddress): string {
  return "socketPath" in address ? `unix:${address.socketPath}` : authorityOf(address);
}
