import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ConnectOptions, Sockets } from "../../edges/sockets.ts";
import { Channel } from "../trunk/channel.ts";
import { NoTrunk, Trunk } from "../trunk/client.ts";
import { trunkProtocol } from "../trunk/protocol.ts";
import type { ClientCall } from "./client-call.ts";
import { ClientConnection, type ConnectionPool } from "./client-connection.ts";
import { ConnectError } from "./errors.ts";
import type { HeadLimits } from "./head.ts";
import type { HttpAddress, HttpTls } from "./types.ts";

export interface PoolSettings {
  maxSocketsPerAddress: number;
  maxIdlePerAddress: number;
  idleTimeoutMs: number;
  connectTimeoutMs: number;
  maxQueued: number;
  sockets: Sockets;
  limits: HeadLimits;
}

/** The connections to one address. */
export class ClientPool implements ConnectionPool {
  readonly limits: HeadLimits;
  private readonly address: HttpAddress;
  private readonly settings: PoolSettings;
  private readonly connections = new Set<ClientConnection>();
  /** The last to become idle is the first to be used: the others may grow old and go. */
  private readonly idle: ClientConnection[] = [];
  private readonly waiting = new Set<ClientCall>();
  private readonly connecting = new Set<ClientCall>();
  /** Carries the connections, where the peer agrees. */
  private trunk: Trunk | undefined;
  private isTrunkless = false;
  private isClosed = false;

  constructor(address: HttpAddress, settings: PoolSettings) {
    this.address = { ...address };
    this.settings = settings;
    this.limits = settings.limits;
  }

  get isEmpty(): boolean {
    return this.connections.size + this.connecting.size + this.waiting.size === 0;
  }

  start(call: ClientCall): void {
    const now = this.idle.length > 0 ? performance.now() : 0;
    for (let kept = this.idle.pop(); kept; kept = this.idle.pop()) {
      // The sweep may be late on a busy machine; by then the peer is about to close it.
      if (this.isOld(kept, now)) kept.socket.destroy();
      else if (kept.isUsable) {
        kept.send(call);
        return;
      }
    }
    const { maxSocketsPerAddress, maxQueued } = this.settings;
    if (this.connections.size + this.connecting.size < maxSocketsPerAddress) this.open(call);
    else if (this.waiting.size < maxQueued) this.waiting.add(call);
    else call.fail(new ConnectError(`too many requests wait for ${this.name}`, "EPOOLFULL"));
  }

  /** A call that waits has been given up. */
  withdraw(call: ClientCall): void {
    this.waiting.delete(call);
  }

  release(connection: ClientConnection): void {
    if (isWornOut(connection)) {
      connection.socket.destroy();
      return;
    }
    const next = this.nextWaiting();
    if (next) {
      connection.send(next);
      return;
    }
    if (this.isClosed || this.idle.length >= this.settings.maxIdlePerAddress) {
      connection.socket.destroy();
      return;
    }
    connection.idleSince = performance.now();
    this.idle.push(connection);
  }

  remove(connection: ClientConnection, call: ClientCall | undefined): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) this.isTrunkless = false;
    const at = this.idle.indexOf(connection);
    if (at !== -1) this.idle.splice(at, 1);
    const next = call ?? this.nextWaiting();
    if (next) this.open(next);
  }

  /** Ends connections that have been idle too long. */
  sweep(now: number): void {
    for (const connection of this.idle.filter((one) => this.isOld(one, now))) connection.socket.destroy();
  }

  /** Ends calls whose time is over; answers whether any other has a deadline. */
  expire(now: number): boolean {
    let hasDeadline = false;
    const check = (call: ClientCall | undefined): void => {
      if (call === undefined || call.deadline === 0) return;
      if (call.deadline < now) call.expire();
      else hasDeadline = true;
    };
    for (const call of this.waiting) check(call);
    for (const call of this.connecting) check(call);
    for (const connection of this.connections) check(connection.current);
    return hasDeadline;
  }

  close(): void {
    this.isClosed = true;
    const error = new ConnectError("client is closed", "ECANCELED");
    for (const call of this.waiting) call.fail(error);
    this.waiting.clear();
    for (const connection of this.connections) connection.abandon(error);
    this.trunk?.retire();
  }

  private isOld({ idleSince, limits }: ClientConnection, now: number): boolean {
    return idleSince < now - (limits?.idleTimeoutMs ?? this.settings.idleTimeoutMs);
  }

  private get name(): string {
    return this.address.socketPath ?? `${this.address.host}:${this.address.port}`;
  }

  private nextWaiting(): ClientCall | undefined {
    const [next] = this.waiting;
    if (next) this.waiting.delete(next);
    return next;
  }

  private open(call: ClientCall): void {
    const connectTimeoutMs = call.limits?.connectTimeoutMs ?? this.settings.connectTimeoutMs;
    const socket = this.connect();
    this.connecting.add(call);
    const settle = (error: Error | undefined): void => {
      clearTimeout(timer);
      socket.off("error", onError);
      socket.off("close", onClose);
      this.connecting.delete(call);
      const failure = error ?? judgement(socket, this.address.tls);
      if (failure instanceof NoTrunk) {
        this.isTrunkless = true;
        this.open(call);
      } else if (failure) this.refused(socket, call, failure);
      else this.opened(socket, call);
    };
    const onError = (error: Error): void => settle(error);
    const onClose = (): void => settle(new Error("connection closed"));
    const timer = setTimeout(() => {
      // It may be dead: whoever comes next tries another.
      this.trunk?.retire();
      settle(timedOut(connectTimeoutMs));
    }, connectTimeoutMs);
    socket.once("error", onError);
    socket.once("close", onClose);
    socket.once(this.address.tls ? "secureConnect" : "connect", () => settle(undefined));
  }

  /** A socket that is about to connect. */
  private connect(): Socket {
    const { address, settings, isTrunkless } = this;
    const { tls } = address;
    if (!tls?.mayShare || isTrunkless) return openSocket(settings.sockets, address, [http11]);
    if (!this.trunk?.isUsable) {
      const carrier = openSocket(settings.sockets, address, [trunkProtocol, http11]);
      this.trunk = new Trunk(carrier, tls.verify);
    }
    return this.trunk.open();
  }

  private opened(socket: Socket, call: ClientCall): void {
    const connection = new ClientConnection(socket, this);
    this.connections.add(connection);
    if (this.isClosed) {
      socket.destroy();
      call.fail(new ConnectError("client is closed", "ECANCELED"));
    } else if (call.isSettled) this.release(connection);
    else connection.send(call);
  }

  private refused(socket: Socket, call: ClientCall, cause: Error): void {
    socket.on("error", () => {});
    socket.destroy();
    const code = (cause as NodeJS.ErrnoException).code ?? "ECONNREFUSED";
    if (this.connections.size === 0) this.isTrunkless = false;
    call.fail(new ConnectError(`cannot connect to ${this.name}: ${cause.message}`, code, { cause }));
    const next = this.nextWaiting();
    if (next) this.open(next);
  }
}

/** It has carried as many requests as it may. */
function isWornOut({ limits, requests }: ClientConnection): boolean {
  return limits !== undefined && limits.maxRequests > 0 && requests >= limits.maxRequests;
}

/** Why the peer is not the one that was meant. */
function judgement(socket: Socket, tls: HttpTls | undefined): Error | undefined {
  // A trunk has judged its own.
  if (socket instanceof Channel) return undefined;
  try {
    tls?.verify?.(socket as TLSSocket);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

function timedOut(timeoutMs: number): Error {
  return Object.assign(new Error(`no connection within ${timeoutMs} ms`), { code: "ETIMEDOUT" });
}

const http11 = "http/1.1";

function openSocket(sockets: Sockets, address: HttpAddress, protocols: string[]): Socket {
  const { host, port, socketPath, tls } = address;
  const where = socketPath !== undefined ? { socketPath } : { host, port };
  return sockets.connect(
    where,
    tls ? { tls: { ...tlsOptions(host, tls), ALPNProtocols: protocols } } : { allowHalfOpen: true },
  );
}

function tlsOptions(host: string, tls: HttpTls): NonNullable<ConnectOptions["tls"]> {
  const { serverName, ca, cert, key, rejectUnauthorized, secureContext, minVersion } = tls;
  return {
    servername: serverName ?? (isAddress(host) ? "" : host),
    ...(secureContext === undefined ? {} : { secureContext }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    rejectUnauthorized: rejectUnauthorized ?? true,
  };
}

function isAddress(host: string): boolean {
  return /^[\d.]+$/.test(host) || host.includes(":");
}
