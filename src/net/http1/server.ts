import type { Socket } from "node:net";
import type { SocketListener } from "../../edges/sockets.ts";
import { type ConnectionHost, ServerConnection } from "./server-connection.ts";
import { type HttpServerOptions, type ServerSettings, serverSettings } from "./server-options.ts";

export type ListenAddress = { host?: string | undefined; port: number } | { socketPath: string };

/** Where a listener really is: the port chosen for 0. */
export type BoundAddress = { host: string; port: number } | { socketPath: string };

export interface HttpServer {
  /** Adds a listener. A Unix socket's stale file is replaced when nobody answers on it. */
  listen(address: ListenAddress): Promise<BoundAddress>;
  /** Serves a connection accepted elsewhere, for example by a TLS server. */
  accept(socket: Socket): void;
  readonly connectionCount: number;
  /** Accepts no more, ends idle connections, lets requests end for `graceMs`, then cuts what is left. */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** An HTTP/1.1 server on raw sockets: strict, ordered, bounded. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  return new WireServer(serverSettings(options));
}

const busyReply = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

class WireServer implements HttpServer, ConnectionHost {
  readonly settings: ServerSettings;
  now = performance.now();
  isClosing = false;
  private readonly listeners = new Set<SocketListener>();
  private readonly connections = new Set<ServerConnection>();
  /** Sockets given to WebSocket or HTTP/2 owners: cut at the end of `close`. */
  private readonly handedOver = new Set<Socket>();
  private sweeper: NodeJS.Timeout | undefined = undefined;
  private readonly emptied: (() => void)[] = [];

  constructor(settings: ServerSettings) {
    this.settings = settings;
  }

  get connectionCount(): number {
    return this.connections.size + this.handedOver.size;
  }

  async listen(address: ListenAddress): Promise<BoundAddress> {
    if (this.isClosing) throw new Error("server is closed");
    const wanted =
      "socketPath" in address ? address : { host: address.host ?? "127.0.0.1", port: address.port };
    const listener = await this.settings.sockets.listen(wanted, {
      allowHalfOpen: true,
      onConnection: (socket) => this.accept(socket),
    });
    this.listeners.add(listener);
    this.startSweeping();
    return listener.address;
  }

  accept(socket: Socket): void {
    if (this.isClosing || this.connectionCount >= this.settings.maxConnections) {
      socket.on("error", () => {});
      socket.end(busyReply, "latin1");
      socket.destroySoon();
      return;
    }
    this.startSweeping();
    this.connections.add(new ServerConnection(socket, this));
  }

  release(connection: ServerConnection, handedOver: Socket | undefined): void {
    this.connections.delete(connection);
    if (handedOver) {
      this.handedOver.add(handedOver);
      handedOver.once("close", () => {
        this.handedOver.delete(handedOver);
        this.checkEmpty();
      });
    }
    this.checkEmpty();
  }

  async close(options: { graceMs?: number } = {}): Promise<void> {
    this.isClosing = true;
    const unlistening = Promise.all([...this.listeners].map((listener) => listener.close()));
    this.listeners.clear();
    for (const connection of this.connections) connection.retire();
    const isEmpty = await this.untilEmpty(options.graceMs ?? 0);
    if (!isEmpty) {
      for (const connection of this.connections) connection.destroy();
      for (const socket of this.handedOver) socket.destroy();
    }
    clearInterval(this.sweeper);
    this.sweeper = undefined;
    await unlistening;
  }

  private untilEmpty(graceMs: number): Promise<boolean> {
    if (this.connectionCount === 0) return Promise.resolve(true);
    if (graceMs <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), graceMs);
      this.emptied.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  private checkEmpty(): void {
    if (this.connectionCount === 0) for (const told of this.emptied.splice(0)) told();
  }

  /** One timer for all deadlines: a timer per request costs more than it is worth. */
  private startSweeping(): void {
    if (this.sweeper) return;
    const { headTimeoutMs, keepAliveTimeoutMs, stallTimeoutMs } = this.settings;
    const shortest = Math.min(headTimeoutMs, keepAliveTimeoutMs, stallTimeoutMs);
    const everyMs = Math.max(10, Math.min(1_000, shortest / 4));
    this.now = performance.now();
    this.sweeper = setInterval(() => this.sweep(), everyMs);
    this.sweeper.unref();
  }

  private sweep(): void {
    this.now = performance.now();
    for (const connection of this.connections) {
      if (connection.deadline !== 0 && connection.deadline < this.now) connection.expire();
    }
  }
}
