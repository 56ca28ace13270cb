import type { Resource } from "./resource.ts";

/** What a route is attached to. */
export interface ParentRef {
  /** A Service is the app of its name. */
  kind: "App" | "Gateway";
  name: string;
  /** Empty: the route's own. */
  namespace: string;
  /** Of a Gateway: the listener's name and port; empty and 0: each. */
  sectionName: string;
  port: number;
}

export interface NamedValue {
  name: string;
  value: string;
}

export interface ValueMatch extends NamedValue {
  isRegex: boolean;
}

export interface HttpRouteMatch {
  path: { type: "Exact" | "PathPrefix" | "RegularExpression"; value: string };
  headers: ValueMatch[];
  queryParams: ValueMatch[];
  /** Empty: any. */
  method: string;
}

export interface GrpcRouteMatch {
  /** Empty texts: any. */
  method: { isRegex: boolean; service: string; method: string };
  headers: ValueMatch[];
}

/** Whom a rule sends requests to. */
export interface BackendTarget {
  kind: "App" | "AppVersion" | "HTTPEndpoint";
  name: string;
  /** Empty: the route's own. */
  namespace: string;
  /** Present: the reference can not be used; its share of the requests is answered with 500. */
  invalid?: string;
}

export interface BackendRef extends BackendTarget {
  weight: number;
  filters: RouteFilter[];
}

export interface HeaderChange {
  set: NamedValue[];
  add: NamedValue[];
  remove: string[];
}

export type PathChange =
  | { type: "ReplaceFullPath"; value: string }
  | { type: "ReplacePrefixMatch"; value: string };

export interface RedirectFilter {
  type: "RequestRedirect";
  /** Empty texts and 0: as the request has it. */
  scheme: string;
  hostname: string;
  port: number;
  path: PathChange | undefined;
  statusCode: number;
}

export interface CorsFilter {
  type: "CORS";
  /** `*` in a host stands for any text. */
  allowOrigins: string[];
  allowCredentials: boolean;
  allowMethods: string[];
  allowHeaders: string[];
  exposeHeaders: string[];
  maxAgeSeconds: number;
}

export interface MirrorFilter {
  type: "RequestMirror";
  backend: BackendTarget;
  /** Of the requests; 1: all. */
  fraction: number;
}

export type RouteFilter =
  | ({ type: "RequestHeaderModifier" | "ResponseHeaderModifier" } & HeaderChange)
  | { type: "URLRewrite"; hostname: string; path: PathChange | undefined }
  | RedirectFilter
  | MirrorFilter
  | CorsFilter;

export interface RouteRetry {
  codes: number[];
  /** After the first try. */
  attempts: number;
  backoffMs: number;
}

export interface SessionPersistence {
  type: "Cookie" | "Header";
  /** Of the cookie or header. */
  sessionName: string;
  /** 0: as long as the client keeps it. */
  absoluteTimeoutMs: number;
  /** A permanent cookie outlives the browser, for `absoluteTimeoutMs`. */
  isPermanent: boolean;
}

export interface RouteRule<M> {
  name: string;
  matches: M[];
  filters: RouteFilter[];
  backends: BackendRef[];
  /** 0: none. */
  requestTimeoutMs: number;
  backendRequestTimeoutMs: number;
  retry: RouteRetry | undefined;
  session: SessionPersistence | undefined;
}

export interface RouteSpec<M> {
  parents: ParentRef[];
  /** `*.` in front stands for any labels; empty: all. */
  hostnames: string[];
  rules: RouteRule<M>[];
}

export interface GatewayListener {
  name: string;
  /** Empty: any. */
  hostname: string;
  port: number;
  protocol: "HTTP" | "HTTPS";
  tls: GatewayTls | undefined;
  /** Namespaces whose routes it takes, and their kinds; no kinds: both. */
  routesFrom: "Same" | "All";
  routeKinds: string[];
}

export interface GatewayTls {
  /** Of the store that `auth.secretStore` names. An empty namespace: the Gateway's own. */
  secrets: { name: string; namespace: string }[];
  /** Files instead of a secret; empty: none. */
  certFile: string;
  keyFile: string;
}

export interface GatewaySpec {
  listeners: GatewayListener[];
  /** IP addresses to listen on; empty: all. */
  addresses: string[];
}

export type HttpRouteResource = Resource<"HTTPRoute", RouteSpec<HttpRouteMatch>>;
export type GrpcRouteResource = Resource<"GRPCRoute", RouteSpec<GrpcRouteMatch>>;
export type GatewayResource = Resource<"Gateway", GatewaySpec>;
