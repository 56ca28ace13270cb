import type { Clock } from "../edges/clock.ts";
import { realSockets, type Sockets } from "../edges/sockets.ts";
import { type GrpcClient, GrpcError } from "../net/grpc/types.ts";
import type { HttpAddress, HttpClient } from "../net/http1/types.ts";
import type { SpanContext, Telemetry } from "../telemetry/telemetry.ts";
import type { AppCallMeter } from "./call-meter.ts";
import type { AppChannel, AppHttpRequest, AppHttpResponse, InboundLayer } from "./channel.ts";
import { createLimiter, type Limiter, unlimited } from "./concurrency.ts";
import { callMetadata, healthCheckMethod, openGrpcApp } from "./grpc-channel.ts";
import { AppHealth, type HealthSettings } from "./health.ts";
import { HttpChannel } from "./http-channel.ts";
import { createHttp2Client } from "./http2-client.ts";
import { type AppPipeline, sendThrough } from "./pipelined.ts";
import { waitForPort } from "./reachable.ts";

/** The part of the app's settings a channel needs. */
export interface AppChannelSettings {
  appPort: number;
  appProtocol: "http" | "https" | "h2c" | "grpc" | "grpcs";
  appChannelAddress: string;
  appMaxConcurrency: number;
  appHealth: (HealthSettings & { path: string }) | undefined;
  /** Read at each call, for it changes. */
  readonly appToken: string | undefined;
  maxBodyBytes: number;
}

export interface AppChannelOptions {
  settings: AppChannelSettings;
  /** Shared by all HTTP/1.1 channels of the process; the channel does not close it. */
  httpClient: HttpClient;
  telemetry: Pick<Telemetry, "log">;
  /** Absent: nothing stands before the app. */
  pipeline?: AppPipeline | undefined;
  /** Absent: calls are not measured. */
  meter?: AppCallMeter | undefined;
  clock: Clock;
  /** What the app is connected with besides `httpClient`. Default: the system's. */
  sockets?: Sockets;
  /** Calls that may wait for a slot of app-max-concurrency. */
  queuedMax?: number;
}

const emptyMessage = new Uint8Array(0);

/** Opens the way to an application. Nothing is connected yet; probes begin when `waitUntilReachable` is over. */
export function createAppChannel(options: AppChannelOptions): AppChannel {
  return new LocalApp(options);
}

class LocalApp implements AppChannel {
  readonly protocol: "http" | "grpc";
  readonly grpc: GrpcClient | undefined;
  inbound: InboundLayer | undefined = undefined;
  readonly #options: AppChannelOptions;
  readonly #limiter: Limiter;
  readonly #http: HttpChannel | undefined;
  readonly #client: HttpClient;
  readonly #address: HttpAddress;
  readonly #health: AppHealth | undefined;

  constructor(options: AppChannelOptions) {
    const { settings, telemetry, clock, queuedMax } = options;
    const protocol = settings.appProtocol;
    this.#options = options;
    this.protocol = protocol === "grpc" || protocol === "grpcs" ? "grpc" : "http";
    this.#limiter = createLimiter({ max: settings.appMaxConcurrency, queuedMax });
    this.#client = protocol === "h2c" ? createHttp2Client(options.sockets) : options.httpClient;
    this.#address = addressOf(settings);
    const onOutcome = (wasAnswered: boolean): void => this.#health?.hint(wasAnswered);
    if (this.protocol === "grpc")
      this.grpc = openGrpcApp({
        ...grpcAddressOf(settings),
        onOutcome,
        meter: options.meter,
        sockets: options.sockets,
      });
    else {
      this.#http = new HttpChannel({
        address: this.#address,
        client: this.#client,
        limiter: this.#limiter,
        settings,
        onOutcome,
        meter: options.meter,
      });
    }
    if (settings.appHealth) {
      const probe = (signal: AbortSignal): Promise<string | undefined> => this.#measuredProbe(signal);
      this.#health = new AppHealth({
        settings: settings.appHealth,
        probe,
        clock,
        log: telemetry.log.scope("dapr.apphealth"),
      });
    }
  }

  get isHealthy(): boolean {
    return this.#health?.isHealthy ?? true;
  }

  onHealthChange(listener: (isHealthy: boolean) => void): () => void {
    return this.#health?.onChange(listener) ?? (() => {});
  }

  http(request: AppHttpRequest): Promise<AppHttpResponse> {
    const http = this.#http;
    if (!http) return Promise.reject(new Error("the application speaks gRPC, not HTTP"));
    const { pipeline } = this.#options;
    if (pipeline === undefined || pipeline.isEmpty) return http.request(request);
    return sendThrough(pipeline, request, (changed) => http.request(changed));
  }

  grpcMetadata(trace: SpanContext | undefined): [string, string][] {
    return callMetadata(this.#options.settings.appToken, trace);
  }

  get isUnlimited(): boolean {
    return this.#limiter === unlimited;
  }

  async withSlot<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const waiting = this.#limiter.acquire(signal);
    if (waiting) await waiting;
    try {
      return await work();
    } finally {
      this.#limiter.release();
    }
  }

  async waitUntilReachable(signal: AbortSignal): Promise<void> {
    const { host, port } = this.#address;
    const { clock, telemetry, sockets = realSockets } = this.#options;
    await waitForPort({ host, port }, signal, { clock, sockets, log: telemetry.log });
    this.#health?.start();
  }

  async close(): Promise<void> {
    this.#health?.close();
    this.grpc?.close();
    if (this.#client !== this.#options.httpClient) this.#client.close();
  }

  proxied(path: string, code: number, tookMs: number): void {
    this.#options.meter?.grpc(path, code, tookMs);
  }

  async #measuredProbe(signal: AbortSignal): Promise<string | undefined> {
    const startedMs = performance.now();
    const { protocol } = this;
    const measure = (status: number): void =>
      this.#options.meter?.probed(protocol, status, performance.now() - startedMs);
    try {
      const status = await this.#probe(signal);
      measure(status);
      const isHealthy = protocol === "grpc" || (status >= 200 && status < 300);
      return isHealthy ? undefined : `Health check failed with status code: ${status}`;
    } catch (error) {
      measure(error instanceof GrpcError ? error.code : unanswered[protocol]);
      throw error;
    }
  }

  /** The status of the answer. Probes pass by the concurrency limit: a busy app is not a sick one. */
  async #probe(signal: AbortSignal): Promise<number> {
    const { settings } = this.#options;
    if (this.grpc) {
      await this.grpc.unary(healthCheckMethod, emptyMessage, {
        metadata: this.grpcMetadata(undefined),
        signal,
      });
      return 0;
    }
    const response = await this.#client.request(this.#address, {
      method: "GET",
      target: `/${(settings.appHealth?.path ?? "").replace(/^\//, "")}`,
      headers: settings.appToken === undefined ? [] : ["dapr-api-token", settings.appToken],
      signal,
    });
    for await (const _ of response.body) if (signal.aborted) break;
    return response.status;
  }
}

/** What metrics say of a probe that nobody answered. */
const unanswered = { http: 500, grpc: 4 };

function addressOf(settings: AppChannelSettings): HttpAddress {
  const address: HttpAddress = { host: settings.appChannelAddress, port: settings.appPort };
  // An app's own certificate is nearly always self-signed; Dapr does not verify it either.
  if (settings.appProtocol === "https") address.tls = { rejectUnauthorized: false };
  return address;
}

function grpcAddressOf(settings: AppChannelSettings): {
  host: string;
  port: number;
  isTls: boolean;
  maxMessageBytes: number;
} {
  return {
    host: settings.appChannelAddress,
    port: settings.appPort,
    isTls: settings.appProtocol === "grpcs",
    maxMessageBytes: settings.maxBodyBytes,
  };
}
