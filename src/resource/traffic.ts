import type { Resource } from "./resource.ts";

/** What a policy is attached to (resource-model.md §2). */
export interface TrafficTarget {
  kind:
    | "App"
    | "AppVersion"
    | "HTTPEndpoint"
    | "Component"
    | "HTTPRoute"
    | "GRPCRoute"
    | "Gateway"
    | "ActorType"
    | "Activity";
  name: string;
  /** The rule of a route, the listener of a Gateway; empty: all of it. */
  sectionName: string;
}

export interface TrafficPolicySpec {
  targets: TrafficTarget[];
  /** App ids of callers it is for; empty: all. */
  from: string[];
  loadBalancer?: LoadBalancerSpec | undefined;
  connectionPool?: ConnectionPoolSpec | undefined;
  outlierDetection?: OutlierDetectionSpec | undefined;
  healthCheck?: HealthCheckSpec | undefined;
  retries?: RetriesSpec | undefined;
  retryBudget?: RetryBudgetSpec | undefined;
  hedging?: HedgingSpec | undefined;
  fault?: FaultSpec | undefined;
  circuitBreaker?: CircuitBreakerSpec | undefined;
  fallback?: FallbackSpec | undefined;
  cache?: CacheSpec | undefined;
  collapse?: CollapseSpec | undefined;
  adaptiveConcurrency?: AdaptiveConcurrencySpec | undefined;
  admissionControl?: AdmissionControlSpec | undefined;
}

export interface LoadBalancerSpec {
  simple: "LEAST_REQUEST" | "ROUND_ROBIN" | "RANDOM" | "PEAK_EWMA";
  consistentHash?: ConsistentHashSpec | undefined;
  warmup?: { durationMs: number; aggression: number; minimumPercent: number } | undefined;
  locality?: LocalitySpec | undefined;
  /** Percent of healthy instances below which all are used; 0: never. */
  panicThreshold: number;
}

export interface ConsistentHashSpec {
  key:
    | { kind: "header"; name: string }
    | { kind: "cookie"; name: string; path: string; ttlMs: number | undefined }
    | { kind: "query"; name: string }
    | { kind: "sourceIp" };
  table: { kind: "ring"; minimumRingSize: number } | { kind: "maglev"; tableSize: number };
  /** 0: not bounded; 125: at most 1.25 times the mean. */
  boundedLoadPercent: number;
}

export interface LocalitySpec {
  distribute: { from: string; to: Record<string, number> }[];
  failover: { from: string; to: string }[];
  /** Labels in order of importance. */
  failoverPriority: string[];
}

export interface ConnectionPoolSpec {
  maxConnections: number;
  connectTimeoutMs: number;
  /** `undefined`: the client's own. */
  idleTimeoutMs: number | undefined;
  http1MaxPendingRequests: number;
  http2MaxRequests: number;
  /** 0: no limit. */
  maxRequestsPerConnection: number;
  maxRetries: number;
}

export interface OutlierDetectionSpec {
  /** 0: off, like the next. */
  consecutive5xxErrors: number;
  consecutiveGatewayErrors: number;
  intervalMs: number;
  baseEjectionTimeMs: number;
  maxEjectionPercent: number;
  minHealthPercent: number;
  splitExternalLocalOriginErrors: boolean;
  consecutiveLocalOriginFailures: number;
  /** Statuses that count instead of 5xx; empty: 5xx. */
  httpErrorCodes: { from: number; to: number }[];
  /** One request tries an instance whose ejection has ended, before the others come back. */
  probe: "single" | "none";
}

export interface HealthCheckSpec {
  kind: "http" | "grpc" | "tcp";
  path: string;
  /** Of grpc. */
  service: string;
  intervalMs: number;
  timeoutMs: number;
  unhealthyThreshold: number;
  healthyThreshold: number;
}

export interface RetriesSpec {
  /** After the first try. */
  attempts: number;
  /** 0: none. */
  perTryTimeoutMs: number;
  retryOn: string[];
  retriableStatusCodes: number[];
  backoffMs: number;
  backoffMaxMs: number;
  ignorePreviousHosts: boolean;
  /** 0: `Retry-After` is not looked at. */
  retryAfterMaxMs: number;
}

export interface RetryBudgetSpec {
  percent: number;
  minRetryConcurrency: number;
  budgetIntervalMs: number;
}

export interface HedgingSpec {
  /** What a try is waited for before another is sent beside it. */
  delayMs: number;
  maxExtra: number;
  methods: string[];
}

export interface FaultSpec {
  delay?: { percentage: number; fixedDelayMs: number } | undefined;
  abort?:
    | { percentage: number; httpStatus: number; grpcStatus?: number | undefined; error: string }
    | undefined;
  /** Of answers; 0: unlimited. */
  bandwidthKbps: number;
  /** Operations it is for (`get`, `set`, `publish`, HTTP verbs); empty: all. */
  commands: string[];
  /** Path prefix, topic or key prefix; empty: all. */
  match: { pathPrefix: string; headers: { name: string; value: string }[] };
  /** The caller may ask for it by `x-envoy-fault-*` headers. */
  isHeaderControlled: boolean;
}

export interface CircuitBreakerSpec {
  maxRequests: number;
  intervalMs: number;
  timeoutMs: number;
  /** CEL over `requests`, `totalFailures`, `consecutiveFailures` … as in Resiliency. */
  trip: string;
}

export interface FallbackSpec {
  on: ("5xx" | "timeout" | "open" | "connect-failure" | "4xx")[];
  directResponse?: { status: number; body: string; contentType: string } | undefined;
  /** `app://id/path`. */
  to?: { id: string; path: string } | undefined;
  staleCache: boolean;
}

export interface CacheSpec {
  /** Absent: what Cache-Control says. */
  ttlMs?: number | undefined;
  /** Names of cookies that may be kept with an answer; only with a `ttl`. */
  cookies: string[];
  /** GET, HEAD. */
  methods: string[];
  /** Names an answer may vary by to be kept, lower-case; empty: any. */
  vary: string[];
  key: { headers: string[]; queryInclude: string[]; queryExclude: string[] };
  ignoreRequestCacheControl: boolean;
  staleWhileRevalidateMs: number;
  staleIfErrorMs: number;
  maxBodyBytes: number;
  /** `memory` or a state component. */
  store: string;
  storeTimeoutMs: number;
  /** Bytes of all entries together, in memory. */
  maxBytes: number;
  /** CEL over `request` and `response`; a list of texts. */
  tags: string;
}

export interface CollapseSpec {
  singleFlight: boolean;
  batch?: BatchSpec | undefined;
}

/** Calls for one thing each that are made as one call for all of them. */
export interface BatchSpec {
  windowMs: number;
  /** Things of one call. */
  max: number;
  /** A path and query with `{id}` in one place. */
  key: string;
  /** `{ids}` stands for all of them. */
  request: { method: string; path: string; body: string };
  /** Where the answer has them: a JSON pointer, and the member that is the id; empty: they are members of those names. */
  split: { items: string; id: string };
}

export interface AdaptiveConcurrencySpec {
  sampleAggregatePercentile: number;
  concurrencyUpdateIntervalMs: number;
  maxConcurrencyLimit: number;
  minRttIntervalMs: number;
  minRttRequestCount: number;
  minRttJitterPercent: number;
  minConcurrency: number;
  minRttBufferPercent: number;
}

export interface AdmissionControlSpec {
  samplingWindowMs: number;
  srThreshold: number;
  aggression: number;
  rpsThreshold: number;
  maxRejectionProbability: number;
}

export type TrafficPolicyResource = Resource<"TrafficPolicy", TrafficPolicySpec>;
