import http2, { type ClientHttp2Session } from "node:http2";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import type { Sockets } from "../../edges/sockets.ts";
import type { HttpTls } from "../http1/types.ts";
import { batched } from "./batched-socket.ts";
import { connectionWindowBytes, sessionOptions, streamWindowBytes } from "./limits.ts";
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

/** One HTTP/2 session to a server, from the first SETTINGS to its loss. */
export class ClientConnection {
  readonly session: ClientHttp2Session;
  /** Resolves when the server's SETTINGS have arrived: then it speaks HTTP/2 and its stream limit is known. */
  readonly ready: Promise<void>;
  /** The server said GOAWAY or the session ended: calls in flight may finish, new ones go elsewhere. */
  isDraining = false;
  isLost = false;
  /** Why it was lost, for the messages of the calls that died with it. */
  lossReason = "the connection was closed";
  activeCalls = 0;
  readonly #waiters: (() => void)[] = [];
  #keepalive: ReturnType<typeof setInterval> | undefined;

  /** Starts to connect; `ready` tells the outcome. */
  constructor(address: GrpcAddress, options: ConnectionOptions) {
    const session = startSession(address, options);
    this.session = session;
    this.ready = this.#becomeReady(address, options.connectTimeoutMs);
    this.ready.catch(ignore);
    session.on("error", (error) => {
      this.lossReason = error.message;
    });
    session.on("goaway", () => {
      this.isDraining = true;
      this.#wakeAll();
    });
    session.on("close", () => {
      this.isDraining = true;
      this.isLost = true;
      clearInterval(this.#keepalive);
      this.#wakeAll();
    });
    if (options.keepaliveMs !== undefined) {
      this.#keepalive = setInterval(() => this.#ping(options.keepaliveTimeoutMs), options.keepaliveMs);
      this.#keepalive.unref();
    }
  }

  #becomeReady(address: GrpcAddress, connectTimeoutMs: number): Promise<void> {
    const { session } = this;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.destroy(`no HTTP/2 connection within ${connectTimeoutMs} ms`);
      }, connectTimeoutMs);
      session.once("remoteSettings", () => {
        clearTimeout(late);
        session.setLocalWindowSize(connectionWindowBytes);
        resolve();
      });
      session.once("close", () => {
        clearTimeout(late);
        reject(new GrpcError(grpcCode.UNAVAILABLE, `${addressText(address)}: ${this.lossReason}`));
      });
    });
  }

  /** New calls may be opened on it. Bun tells of an end one tick after the session has ended. */
  get isUsable(): boolean {
    return !this.isDraining && !this.session.closed && !this.session.destroyed;
  }

  destroy(reason: string): void {
    this.lossReason = reason;
    this.session.destroy();
  }

  get hasRoom(): boolean {
    return this.activeCalls < (this.session.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY);
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
    if (this.activeCalls === 0 || this.session.destroyed) return;
    const late = setTimeout(() => {
      this.destroy(`no answer to a keepalive ping within ${timeoutMs} ms`);
    }, timeoutMs);
    this.session.ping(() => clearTimeout(late));
  }
}

function ignore(): void {}

function startSession(address: GrpcAddress, options: ConnectionOptions): ClientHttp2Session {
  const scheme = options.tls === undefined ? "http" : "https";
  return http2.connect(`${scheme}://${authorityOf(address)}`, {
    ...sessionOptions,
    settings: { enablePush: false, initialWindowSize: streamWindowBytes },
    createConnection: () => openSocket(address, options),
  } as http2.ClientSessionOptions);
}

function openSocket(address: GrpcAddress, { sockets, tls }: ConnectionOptions): Duplex {
  if (tls === undefined) return batched(sockets.connect(address));
  const { serverName, ...rest } = tls;
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
