import type { TryOwner } from "../kit/try-owner.ts";
import type { GrpcContext, GrpcProxyTarget } from "../net/grpc/types.ts";
import type { HttpReply, HttpRequest } from "../net/http1/types.ts";
import type { RefNotPermitted } from "../resource/reference-grant.ts";
import type { Span } from "../telemetry/telemetry.ts";
import type { UpstreamStatus } from "./balance/policy.ts";
import type { GatewayTables } from "./routes/routes.ts";

/** Service invocation from one app: finds the target (own app, another app, HTTPEndpoint, URL) and calls it. */
export interface Invoker {
  /** HTTP in. `target` is the raw method path with the query, beginning with a slash. Streams both ways. */
  invokeHttp(request: InvokeHttpRequest): Promise<HttpReply>;
  /** A request that came in by a gateway. */
  routeHttp(request: RouteHttpRequest): Promise<HttpReply>;
  /** The same for gRPC calls, by the routes as they are at each call. */
  routeGrpc(tables: () => GatewayTables): GrpcProxyTarget;
  /** gRPC InvokeService (legacy unary). */
  invokeUnary(request: InvokeUnaryRequest): Promise<InvokeUnaryReply>;
  /** Proxying of any gRPC service by `dapr-app-id` metadata. */
  proxy(): GrpcProxyTarget;
  /** The instances that policies choose among. */
  upstreams(): UpstreamStatus[];
  /** References of routes and Gateways that no ReferenceGrant allows. */
  refsNotPermitted(): readonly RefNotPermitted[];
  close(): Promise<void>;
}

export interface InvokeHttpRequest {
  /** `app`, `app.namespace`, an HTTPEndpoint's name or a URL. */
  id: string;
  target: string;
  request: HttpRequest;
  span: Span;
  /** Ids of instances that attempts before this one had, which are chosen last; it adds its own. */
  avoid?: Set<string> | undefined;
  tries?: TryOwner | undefined;
}

export interface RouteHttpRequest {
  tables: GatewayTables;
  request: HttpRequest;
  span: Span;
  scheme: "http" | "https";
  /** Header lines that say where the request came from. */
  forwarded: readonly string[];
}

export interface InvokeUnaryRequest {
  id: string;
  method: string;
  data: { typeUrl: string; value: Uint8Array };
  contentType: string;
  verb: string;
  querystring: string;
  context: Omit<GrpcContext, "requestStart">;
  span: Span;
  tries?: TryOwner | undefined;
}

export interface InvokeUnaryReply {
  data: { typeUrl: string; value: Uint8Array };
  contentType: string;
  headers: [name: string, value: string][];
  trailers: [name: string, value: string][];
}
