import type { AppChannel } from "../app/channel.ts";
import type { Components } from "../component/components.ts";
import type { ActorsEngine } from "../engine/actors/engine.ts";
import type { JobsEngine } from "../engine/jobs/engine.ts";
import type { Elections } from "../engine/leases/elections.ts";
import type { PubSubEngine } from "../engine/pubsub/engine.ts";
import type { Schedules } from "../engine/schedules/schedules.ts";
import type { WorkflowEngine } from "../engine/workflow/engine.ts";
import type { GrpcContext } from "../net/grpc/types.ts";
import type { HttpRequest } from "../net/http1/types.ts";
import type { Invoker } from "../peer/invoker.ts";
import type { UsePolicies } from "../policy/use/use-policies.ts";
import type { Configuration, Resource } from "../resource/resource.ts";
import type { Span, Telemetry } from "../telemetry/telemetry.ts";

/** On whose behalf a call runs. Nothing is "the app" globally: node mode has many. */
export interface Principal {
  namespace: string;
  appId: string;
}

/** Everything one app has in the runtime. In sidecar mode there is one, in node mode one per app. */
export interface AppScope {
  readonly principal: Principal;
  readonly settings: AppSettings;
  readonly components: Components;
  /** The merged Configuration; replaced on reload. */
  configuration: Configuration;
  /** Resources that the metadata API lists: HTTPEndpoint, Resiliency. Replaced on reload. */
  resources: readonly Resource[];
  /** How to call the app; `undefined` when there is no app port. */
  readonly channel: AppChannel | undefined;
  readonly pubsub: PubSubEngine;
  readonly jobs: JobsEngine;
  readonly actors: ActorsEngine;
  readonly workflows: WorkflowEngine;
  readonly elections: Elections;
  readonly schedules: Schedules;
  readonly invoker: Invoker;
  readonly health: HealthTargets;
  /** mecha's own policies round what the app uses. */
  readonly policies: UsePolicies;
  readonly telemetry: Telemetry;
  /** `PUT /v1.0/metadata/{key}`: kept in memory. */
  readonly extendedMetadata: Map<string, string>;
  /** Starts the shutdown of this app's runtime; returns at once. */
  shutdown(options: { force: boolean }): void;
}

export interface AppSettings {
  appPort: number;
  appProtocol: "http" | "https" | "h2c" | "grpc" | "grpcs";
  appChannelAddress: string;
  appMaxConcurrency: number;
  /** Present when app health checks are on. */
  appHealth: { path: string; probeIntervalMs: number; probeTimeoutMs: number; threshold: number } | undefined;
  maxBodyBytes: number;
  readBufferBytes: number;
  /** Of these callers must present one; none: no token is asked for. Read at each call, for they change. */
  readonly apiTokens: readonly string[];
  /** What mecha presents to the app. Read at each call. */
  readonly appToken: string | undefined;
  allowedOrigins: string;
  /** Operations of this app that may run at once, and how many more may wait. Absent: no limit. */
  apiLimit?: { callsMax: number; queueMax: number } | undefined;
  /** Server reflection on the gRPC port. Absent: off. */
  grpcReflection?: boolean;
  /** `mecha daprd`: no extensions, no implicit components. */
  isStrict: boolean;
  runtimeVersion: string;
}

/** Named readiness flags behind /v1.0/healthz. */
export interface HealthTargets {
  set(target: string, isReady: boolean): void;
  /** Names of the targets that are not ready, in registration order. */
  unready(): string[];
  /** Calls the listener after each `set`. */
  onChange?(listener: () => void): void;
  isOutboundReady(): boolean;
  setOutboundReady(isReady: boolean): void;
}

/** What a handler knows of its call, whichever protocol brought it. */
export interface Call {
  readonly app: AppScope;
  readonly principal: Principal;
  readonly protocol: "http" | "grpc";
  /** HTTP header or gRPC metadata by lower-case name. */
  header(lowerName: string): string | undefined;
  /** Headers as pairs, lower-case names, for forwarding. */
  headers(): [name: string, value: string][];
  /** The span of this operation; its context goes downstream. */
  readonly span: Span;
  readonly signal: AbortSignal;
  /** Present when the call came over gRPC. */
  readonly grpc?: GrpcContext | undefined;
  /** gRPC: header metadata of the reply; HTTP: extra response headers. */
  setReplyHeader(name: string, value: string): void;
}

export interface StreamCall extends Call {}

/** An HTTP call after routing. */
export interface HttpCall extends Call {
  readonly request: HttpRequest;
  /** Path parameters, percent-decoded once (`+` is a space, as Dapr has it). */
  readonly params: Readonly<Record<string, string>>;
  /** A path parameter of the route; empty when the route has none of that name. */
  param(name: string): string;
  /** The raw target after the matched prefix of a `{rest...}` parameter, still encoded, with the query. */
  readonly rawRest: string;
  /** Values of a query parameter, decoded. */
  query(name: string): string | undefined;
  queryAll(name: string): string[];
  /** `metadata.<k>=<v>` pairs of the query; the first value wins. */
  metadata(): Record<string, string>;
  /** The whole body within the body limit. Throws the errors.BODY_READ fault beyond it. */
  body(): Uint8Array | Promise<Uint8Array>;
  /** The body as text that has to be JSON; throws errors.MALFORMED_REQUEST when it can not be read. */
  jsonText(): string | Promise<string>;
  /** The body parsed as JSON; throws errors.MALFORMED_REQUEST. */
  json(): unknown | Promise<unknown>;
}
