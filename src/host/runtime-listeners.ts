import type { AppScope, HealthTargets } from "../api/call.ts";
import { operationsOf } from "../api/operations.ts";
import type { Log, Telemetry } from "../telemetry/telemetry.ts";
import { createGrpcApi } from "../transport/grpc/api.ts";
import { createHttpApi } from "../transport/http/api.ts";
import { apiAddresses, guardOf, metricsHandler } from "./guard.ts";
import type { Host } from "./host.ts";
import { createListener, type Listener, type ListenerOptions } from "./listeners.ts";
import type { MutualTls } from "./mutual-tls.ts";
import type { Names } from "./name-resolution.ts";
import type { MovablePort, RuntimeOptions } from "./options.ts";
import { openPeerPort, type PeerPort } from "./peer-port.ts";
import type { Pipeline } from "./pipelines.ts";
import { listenNear } from "./ports.ts";

export interface RuntimePorts {
  http: number;
  grpc: number;
  internal: number;
  /** 0: no metrics. */
  metrics: number;
}

export interface RuntimeListenersOptions {
  host: Host;
  options: RuntimeOptions;
  log: Log;
  health: HealthTargets;
}

/** What is behind the ports. */
export interface Served {
  scope: AppScope;
  /** Of the HTTP API. */
  pipeline: Pipeline;
  telemetry: Telemetry;
  security: MutualTls | undefined;
  names: Names;
}

/** On its way to a peer a head grows by identity, trace and forwarding, and the caller's limit may be higher. */
const peerHeaderBytes = 64 << 10;

/** The ports of one app's runtime: its APIs, its metrics, and the one that other mechas call. */
export class RuntimeListeners {
  readonly ports: RuntimePorts = { http: 0, grpc: 0, internal: 0, metrics: 0 };
  peerPort: PeerPort | undefined;
  readonly #options: RuntimeListenersOptions;
  readonly #listeners: Listener[] = [];

  constructor(options: RuntimeListenersOptions) {
    this.#options = options;
    for (const target of ["grpc-api-server", "grpc-internal-server"]) options.health.set(target, false);
  }

  async open(served: Served): Promise<void> {
    const { options, log, health } = this.#options;
    const { scope, pipeline, telemetry } = served;
    const operations = operationsOf(options);
    const guard = guardOf(options, apiAddresses(options));
    const http = createHttpApi({ app: scope, operations, pipeline, guard });
    const grpc = createGrpcApi({ app: scope, operations });
    await this.#listenMetrics(telemetry);
    if (options.unixDomainSocket === "") await this.#listenApi(http, grpc);
    else await this.#listenSockets(http, grpc);
    health.set("grpc-api-server", true);
    await this.#listenPublic(scope);
    await this.#listenPeers(served);
    health.set("grpc-internal-server", true);
    log.debug({}, "all servers listen");
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close(graceMs)));
  }

  async #listenApi(http: ListenHttp, grpc: ListenGrpc): Promise<void> {
    const { options, log } = this.#options;
    const hosts = apiAddresses(options);
    const grpcListener = this.#listener({ grpc });
    this.ports.grpc = await this.#bind("grpcPort", (port) => grpcListener.listen(hosts, port));
    log.info({}, `API gRPC server is running on port ${this.ports.grpc}`);
    const httpListener = this.#listener({ http });
    this.ports.http = await this.#bind("httpPort", (port) => httpListener.listen(hosts, port));
    log.info({}, `HTTP server is running on port ${this.ports.http}`);
  }

  async #listenSockets(http: ListenHttp, grpc: ListenGrpc): Promise<void> {
    const { unixDomainSocket, appId } = this.#options.options;
    const [grpcName, httpName] = [`dapr-${appId}-grpc.socket`, `dapr-${appId}-http.socket`];
    const grpcPath = await this.#listener({ grpc }).listenSocket(unixDomainSocket, grpcName);
    const httpPath = await this.#listener({ http }).listenSocket(unixDomainSocket, httpName);
    this.#options.log.info({}, `API servers are running on ${httpPath} and ${grpcPath}`);
  }

  async #listenPublic(app: AppScope): Promise<void> {
    const { options } = this.#options;
    if (options.publicPort === undefined) return;
    const address = options.publicListenAddress || "0.0.0.0";
    const guard = guardOf(options, [address]);
    const http = createHttpApi({ app, operations: operationsOf(options), public: true, guard });
    await this.#listener({ http }).listen([address], options.publicPort);
  }

  async #listenMetrics({ metrics }: Telemetry): Promise<void> {
    const { options, log } = this.#options;
    if (!options.enableMetrics) return;
    const address = options.metricsListenAddress || "0.0.0.0";
    const listener = this.#listener({ http: metricsHandler(options, address, metrics) });
    this.ports.metrics = await this.#bind("metricsPort", (port) => listener.listen([address], port));
    log.info({}, `metrics server started on ${options.metricsListenAddress}:${this.ports.metrics}`);
  }

  async #listenPeers({ scope, telemetry, security, names }: Served): Promise<void> {
    const { host, options, log } = this.#options;
    this.peerPort = await openPeerPort({
      ...{ host, options, log, telemetry, security, names, httpPort: this.ports.http },
      settings: scope.settings,
      listener: (handlers) => this.#listener(handlers),
    });
    this.ports.internal = this.peerPort.address.port;
  }

  /** A port that was chosen, not asked for, may have been taken since. */
  #bind(name: MovablePort, listen: (port: number) => Promise<number>): Promise<number> {
    const { options } = this.#options;
    const port = options[name];
    return options.movablePorts.includes(name) ? listenNear(port, listen) : listen(port);
  }

  #listener(handlers: Pick<ListenerOptions, "http" | "grpc" | "front">): Listener {
    const { host, options, log } = this.#options;
    const listener = createListener({
      ...handlers,
      sockets: host.edges.sockets,
      maxBodyBytes: options.maxBodyBytes,
      readBufferBytes: options.readBufferBytes + (handlers.http && handlers.grpc ? peerHeaderBytes : 0),
      // gRPC is HTTP/2: the switch is for the HTTP API alone.
      isH2cOff:
        handlers.grpc === undefined && /^(1|t|true|y|yes)$/i.test(host.env.DAPR_HTTP_DISABLE_H2C ?? ""),
      onError: (error) => log.error({ error }, "a handler failed"),
    });
    this.#listeners.push(listener);
    return listener;
  }
}

type ListenHttp = NonNullable<ListenerOptions["http"]>;
type ListenGrpc = NonNullable<ListenerOptions["grpc"]>;
