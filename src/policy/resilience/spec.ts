import { parseDuration } from "../../kit/duration.ts";
import type { ResiliencyResource } from "../../resource/resource.ts";
import type { BreakerSpec } from "./breaker.ts";
import { type CodeMatcher, codeMatcher } from "./codes.ts";

/** A retry policy; -1 retries go on as long as the caller waits. */
export interface RetrySpec {
  kind: "constant" | "exponential";
  /** Pause of a constant policy. */
  durationMs: number;
  /** Longest pause of an exponential one. */
  intervalMaxMs: number;
  retriesMax: number;
  /** Which codes are worth another try; `undefined`: all. */
  matches: CodeMatcher | undefined;
}

/** The names of the policies of a target; empty: none. */
export interface PolicyNames {
  timeout: string;
  retry: string;
  circuitBreaker: string;
}

export interface AppTarget extends PolicyNames {
  breakersMax: number;
}

export interface ActorTarget extends AppTarget {
  /** What shares a breaker: the actors of the type, each alone, or each alone and the type besides. */
  breakerScope: "type" | "id" | "both";
}

/** Everything the Resiliency resources of an app say, merged: of two definitions of a name the later one counts. */
export interface ResilienceSpec {
  /** For metrics: the first resource. */
  name: string;
  namespace: string;
  timeouts: ReadonlyMap<string, number>;
  retries: ReadonlyMap<string, RetrySpec>;
  breakers: ReadonlyMap<string, BreakerSpec>;
  apps: ReadonlyMap<string, AppTarget>;
  /** By actor type. */
  actors: ReadonlyMap<string, ActorTarget>;
  components: ReadonlyMap<string, { inbound: PolicyNames; outbound: PolicyNames }>;
}

type Plain = Record<string, unknown>;

const breakersMaxDefault = 5000;
const builtIn = "DaprBuiltIn";
const builtInRetriesMin = 3;
/** Dapr lets nobody change these. */
const protectedRetries = "DaprBuiltInActorNotFoundRetries";

/** Reads resources that have been checked when they were loaded. `undefined` when there are none. */
export function mergeResiliency(resources: readonly ResiliencyResource[]): ResilienceSpec | undefined {
  const [first] = resources;
  if (first === undefined) return undefined;
  const policies = resources.map(({ spec }) => objectOf(spec.policies));
  const targets = resources.map(({ spec }) => objectOf(spec.targets));
  return {
    name: first.name,
    namespace: first.namespace,
    timeouts: merged(policies, "timeouts", (value) => durationOf(value, 0)),
    retries: readRetries(policies),
    breakers: merged(policies, "circuitBreakers", (value) => readBreaker(objectOf(value))),
    apps: merged(targets, "apps", (value) => readApp(objectOf(value))),
    actors: merged(targets, "actors", (value) => readActor(objectOf(value))),
    components: merged(targets, "components", (value) => readComponent(objectOf(value))),
  };
}

function merged<T>(parts: Plain[], field: string, read: (value: unknown, name: string) => T): Map<string, T> {
  const all = new Map<string, T>();
  for (const part of parts) {
    for (const [name, value] of Object.entries(objectOf(part[field]))) all.set(name, read(value, name));
  }
  return all;
}

function readRetries(policies: Plain[]): Map<string, RetrySpec> {
  const retries = merged(policies, "retries", (value, name) => readRetry(objectOf(value), name));
  retries.delete(protectedRetries);
  return retries;
}

function readRetry(retry: Plain, name: string): RetrySpec {
  const matching = objectOf(retry.matching);
  const retriesMax = numberOf(retry.maxRetries, -1);
  return {
    kind: retry.policy === "exponential" ? "exponential" : "constant",
    durationMs: durationOf(retry.duration, 5_000),
    intervalMaxMs: durationOf(retry.maxInterval, 60_000),
    // Dapr does not let its built-in retries go below three.
    retriesMax: name.startsWith(builtIn) ? Math.max(retriesMax, builtInRetriesMin) : retriesMax,
    matches: codeMatcher(textOf(matching.httpStatusCodes), textOf(matching.gRPCStatusCodes)),
  };
}

function readBreaker(breaker: Plain): BreakerSpec {
  return {
    probesMax: numberOf(breaker.maxRequests, 1) || 1,
    clearMs: durationOf(breaker.interval, 0),
    openMs: durationOf(breaker.timeout, 60_000) || 60_000,
    trip: textOf(breaker.trip),
  };
}

function readApp(app: Plain): AppTarget {
  return { ...namesOf(app), breakersMax: numberOf(app.circuitBreakerCacheSize, 0) || breakersMaxDefault };
}

function readActor(actor: Plain): ActorTarget {
  const scope = textOf(actor.circuitBreakerScope).toLowerCase();
  return { ...readApp(actor), breakerScope: scope === "id" || scope === "both" ? scope : "type" };
}

function readComponent(component: Plain): { inbound: PolicyNames; outbound: PolicyNames } {
  return { inbound: namesOf(objectOf(component.inbound)), outbound: namesOf(objectOf(component.outbound)) };
}

function namesOf(target: Plain): PolicyNames {
  return {
    timeout: textOf(target.timeout),
    retry: textOf(target.retry),
    circuitBreaker: textOf(target.circuitBreaker),
  };
}

function objectOf(value: unknown): Plain {
  return typeof value === "object" && value !== null ? (value as Plain) : {};
}

function textOf(value: unknown): string {
  return value === undefined || value === null ? "" : String(value);
}

function numberOf(value: unknown, otherwise: number): number {
  const number = Number(value ?? otherwise);
  return Number.isFinite(number) ? number : otherwise;
}

/** A bare number is milliseconds, as in Dapr. */
function durationOf(value: unknown, otherwiseMs: number): number {
  if (value === undefined || value === null || value === "") return otherwiseMs;
  const text = String(value);
  return /^[+-]?\d+$/.test(text) ? Number(text) : parseDuration(text);
}
