import type { Resource } from "./resource.ts";

/** How much of something may be used in a time (docs/guide/rate-limits.md). */
export interface RateLimitSpec {
  targets: RateLimitTarget[];
  scope: "instance" | "app" | "global";
  limits: RateLimitRule[];
  onLimit: {
    action: "reject" | "delay" | "queue";
    maxWaitMs: number;
    status: number;
    hasHeaders: boolean;
  };
  /** Counts, and refuses nothing. */
  isShadow: boolean;
  /** What happens while the store of shared counters is away. */
  failurePolicy: "open" | "closed";
}

export interface RateLimitTarget {
  kind: "App" | "Component" | "Topic" | "Workflow" | "Activity" | "ActorType" | RoutedKind;
  /** Of a Topic: the pub/sub component. Of a rule of a route: `route/rule`, of a listener `gateway/listener`. */
  name: string;
  /** Only of a Topic. */
  topic?: string;
  direction: "inbound" | "outbound";
}

/** What calls pass on the way that a route says. */
type RoutedKind = "AppVersion" | "HTTPRoute" | "GRPCRoute" | "Gateway";

export interface RateLimitRule {
  /** A CEL condition; empty: always. */
  match: string;
  /** Whoever differs in one of them has a count of its own. */
  keys: RateLimitKey[];
  requests: number;
  perMs: number;
  /** Of the token bucket. */
  burst: number;
  algorithm: "tokenBucket" | "slidingWindow";
}

export type RateLimitKey =
  | { kind: "header"; lowerName: string }
  | { kind: "field"; name: (typeof rateLimitFields)[number] }
  | { kind: "cel"; expression: string };

/** What a key or a condition may ask of a request besides its headers. */
export const rateLimitFields = [
  "source.app",
  "source.namespace",
  "request.method",
  "request.path",
  "request.operation",
] as const;

export type RateLimitResource = Resource<"RateLimit", RateLimitSpec>;

/** Header names as an expression spells them: `request.headers["x-user"]`. The name is the first group that is there. */
export const headersInExpression = /request\.headers\[\s*(?:"([^"]*)"|'([^']*)')\s*\]/g;
