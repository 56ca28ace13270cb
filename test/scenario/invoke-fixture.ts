import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { invocationOf } from "../../src/api/invoke.ts";
import { type AppChannelSettings, createAppChannel } from "../../src/app/app-channel.ts";
import type { AppChannel } from "../../src/app/channel.ts";
import { realClock } from "../../src/edges/clock.ts";
import { openSqliteStore } from "../../src/engine/store/sqlite.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { Fault } from "../../src/errors.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import { createHttpClient } from "../../src/net/http1/client.ts";
import { createHttpServer } from "../../src/net/http1/server.ts";
import type { HttpReply, HttpRequest } from "../../src/net/http1/types.ts";
import { createInvoker } from "../../src/peer/app-invoker.ts";
import type { Invoker } from "../../src/peer/invoker.ts";
import { createRegistry, type Registry } from "../../src/peer/registry.ts";
import { createPeerHandlers, type PeerHandlers } from "../../src/peer/server.ts";
import type { ExternalEndpoint } from "../../src/peer/target.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { extractContext } from "../../src/telemetry/propagation.ts";
import type { Log, Telemetry } from "../../src/telemetry/telemetry.ts";
import { createTracer } from "../../src/telemetry/tracer.ts";

const nothing = (): void => {};
export const quietLog: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
  scope: () => quietLog,
};

export interface SidecarOptions {
  appId: string;
  namespace?: string;
  appPort?: number;
  protocol?: AppChannelSettings["appProtocol"];
  appToken?: string;
  maxConcurrency?: number;
  health?: AppChannelSettings["appHealth"];
  endpoints?: Record<string, ExternalEndpoint>;
  /** Node mode: apps of one process share a registry. */
  registry?: Registry;
  maxBodyBytes?: number;
}

/** The internal port: HTTP/1.1 and, told apart by its first bytes, HTTP/2. */
interface PeerPort {
  port: number;
  close(): Promise<void>;
}

export interface Sidecar {
  /** Of the HTTP API: only invocation is served. */
  url: string;
  port: number;
  grpcPort: number;
  invoker: Invoker;
  registry: Registry;
  channel: AppChannel | undefined;
  peerToken: string;
  peerPort: PeerPort;
  /** What /metrics would show. */
  metrics(): string;
  /** Stops without taking the announcement back, as a crash would. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

/** One machine: sidecars that share a store, and everything a test started on it. */
export class Machine {
  readonly #folder = mkdtempSync(join(tmpdir(), "mecha-invoke-"));
  readonly #closers: (() => unknown)[] = [];
  readonly stores: Store[] = [];

  async store(): Promise<Store> {
    const store = await openSqliteStore({ folder: this.#folder });
    this.stores.push(store);
    return store;
  }

  onClose(close: () => unknown): void {
    this.#closers.push(close);
  }

  /** An app on a port of its own. */
  async app(handler: http.RequestListener): Promise<{ port: number; server: http.Server }> {
    const server = http.createServer(handler);
    return { port: await this.listen(server), server };
  }

  async listen(server: Server): Promise<number> {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    this.onClose(() => {
      (server as Partial<http.Server>).closeAllConnections?.();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  }

  async sidecar(options: SidecarOptions): Promise<Sidecar> {
    const sidecar = await startSidecar(options, () => this.store());
    this.onClose(() => sidecar.close());
    return sidecar;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    for (const store of this.stores) await store.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function startSidecar(options: SidecarOptions, openStore: () => Promise<Store>): Promise<Sidecar> {
  const { appId, namespace = "default" } = options;
  const principal = { appId, namespace };
  const settings = { maxBodyBytes: options.maxBodyBytes ?? 4 * 1024 * 1024 };
  const httpClient = createHttpClient();
  const telemetry: Telemetry = {
    log: quietLog,
    metrics: createMetrics(),
    tracer: createTracer(0, undefined),
  };
  const channel =
    options.appPort === undefined
      ? undefined
      : createAppChannel({ settings: channelSettings(options), httpClient, telemetry, clock: realClock });
  const registry =
    options.registry ?? createRegistry({ store: await openStore(), clock: realClock, log: quietLog });
  const forget = registry.local.register(principal, { channel });
  const invoker = createInvoker({
    principal,
    settings,
    channel,
    registry,
    httpEndpoint: (name) => options.endpoints?.[name],
    httpClient,
    telemetry,
    clock: realClock,
    host: { address: "10.1.2.3", name: "testhost" },
    connectRetry: () => ({ retries: 1, pauseMs: () => 20 }),
  });
  const peerToken = randomUUID();
  const handlers = createPeerHandlers({ apps: registry.local, token: peerToken, settings, telemetry });
  const peerPort = await openPeerPort(handlers);
  const registration = await registry.register({
    ...principal,
    instanceId: randomUUID(),
    host: "127.0.0.1",
    port: peerPort.port,
    token: peerToken,
  });
  const api = await openApi(invoker, telemetry);
  const stop = async (): Promise<void> => {
    forget();
    await Promise.all([api.close(), peerPort.close(), invoker.close(), channel?.close()]);
    httpClient.close();
  };
  let isStopped = false;
  const stopOnce = async (): Promise<void> => {
    if (!isStopped) await stop();
    isStopped = true;
  };
  return {
    url: `http://127.0.0.1:${api.port}`,
    port: api.port,
    grpcPort: api.grpcPort,
    invoker,
    registry,
    channel,
    peerToken,
    peerPort,
    metrics: () => telemetry.metrics.text(),
    crash: stopOnce,
    close: async () => {
      await registration.close();
      await stopOnce();
      if (!options.registry) await registry.close();
    },
  };
}

async function openPeerPort(handlers: PeerHandlers): Promise<PeerPort> {
  const grpc = createGrpcServer({ lookup: handlers.grpc });
  const server = createHttpServer({ handler: handlers.http, onHttp2: (socket) => grpc.handleSocket(socket) });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  return {
    port: "port" in bound ? bound.port : 0,
    close: async () => {
      await Promise.all([server.close(), grpc.close()]);
    },
  };
}

function channelSettings(options: SidecarOptions): AppChannelSettings {
  return {
    appPort: options.appPort ?? 0,
    appProtocol: options.protocol ?? "http",
    appChannelAddress: "127.0.0.1",
    appMaxConcurrency: options.maxConcurrency ?? -1,
    appHealth: options.health,
    appToken: options.appToken,
    maxBodyBytes: options.maxBodyBytes ?? 4 * 1024 * 1024,
  };
}

/** The part of the API server these tests need: addressing, faults, and proxying of unknown services. */
async function openApi(
  invoker: Invoker,
  telemetry: Telemetry,
): Promise<{ port: number; grpcPort: number; close(): Promise<void> }> {
  const handler = async (request: HttpRequest): Promise<HttpReply> => {
    const header = (name: string): string | undefined => request.header(name);
    const { id, target } = invocationOf(request.target, header);
    const span = telemetry.tracer.start("invoke", "server", extractContext(header));
    try {
      return await invoker.invokeHttp({ id, target, request, span });
    } catch (error) {
      const fault = Fault.from(error);
      const body = JSON.stringify({ errorCode: fault.code, message: fault.message });
      return { status: fault.http, headers: ["Content-Type", "application/json"], body };
    }
  };
  const server = createHttpServer({ handler });
  const grpc = createGrpcServer({
    lookup: () => invoker.proxy(),
    maxMessageBytes: 4 * 1024 * 1024,
  });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  const grpcBound = await grpc.listen({ host: "127.0.0.1", port: 0 });
  if (!("port" in bound) || !("port" in grpcBound)) throw new GrpcError(13, "not bound to ports");
  return {
    port: bound.port,
    grpcPort: grpcBound.port,
    close: async () => {
      await Promise.all([server.close(), grpc.close()]);
    },
  };
}

export interface Reply {
  status: number;
  headers: http.IncomingHttpHeaders;
  rawHeaders: string[];
  text: string;
}

/** A plain request that sends exactly these headers and this path. */
export function send(
  url: string,
  path: string,
  options: {
    method?: string;
    headers?: http.OutgoingHttpHeaders;
    body?: string | Buffer;
    signal?: AbortSignal;
  } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { method = "GET", headers = {}, body, signal } = options;
    const { hostname, port } = new URL(url);
    const request = http.request({ hostname, port, path, method, headers, signal, agent: false });
    request.on("error", reject);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode = 0, headers: received, rawHeaders } = response;
        resolve({
          status: statusCode,
          headers: received,
          rawHeaders,
          text: Buffer.concat(chunks).toString(),
        });
      });
    });
    request.end(body);
  });
}

/** Waits for a condition; fails after the deadline. */
export async function until(condition: () => boolean | Promise<boolean>, deadlineMs = 5000): Promise<void> {
  const end = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
