import { readDestination } from "./destination.ts";
import type { FieldReader } from "./field-reader.ts";
import type {
  AdaptiveConcurrencySpec,
  AdmissionControlSpec,
  CircuitBreakerSpec,
  FallbackSpec,
} from "./traffic.ts";
import { readPercent } from "./traffic-faults.ts";

const fallbackReasons = ["5xx", "timeout", "open", "connect-failure", "4xx"] as const;
const bodyBytesMax = 64 * 1024;

/** Dapr's fields of a circuit breaker, with its defaults. */
export function readCircuitBreaker(spec: FieldReader): CircuitBreakerSpec | undefined {
  const breaker = spec.object("circuitBreaker");
  if (breaker === undefined) return undefined;
  return {
    maxRequests: breaker.number("maxRequests", 1, { min: 1 }),
    intervalMs: breaker.duration("interval", 0),
    timeoutMs: breaker.duration("timeout", 60_000) || 60_000,
    trip: breaker.text("trip"),
  };
}

export function readFallback(spec: FieldReader): FallbackSpec | undefined {
  const fallback = spec.object("fallback");
  if (fallback === undefined) return undefined;
  const staleCache = fallback.flag("staleCache", false);
  const direct = fallback.object("directResponse");
  const directResponse = direct && readDirectResponse(direct);
  const to = readDestination(fallback, "to");
  if (to !== undefined && to.kind !== "app")
    fallback.fail("spec.fallback.to must be like app://id/path", "to");
  const others = Number(directResponse !== undefined) + Number(fallback.has("to"));
  if (others > 1 || (others === 0 && !staleCache))
    spec.fail(
      "spec.fallback takes one of directResponse and to, or staleCache and perhaps one of them",
      "fallback",
    );
  return {
    on: readReasons(fallback),
    directResponse,
    to: to?.kind === "app" ? { id: to.id, path: to.path } : undefined,
    staleCache,
  };
}

function readReasons(fallback: FieldReader): FallbackSpec["on"] {
  if (!fallback.has("on")) return ["5xx", "timeout", "open"];
  return fallback.texts("on").flatMap((asked, index): FallbackSpec["on"] => {
    const reason = fallbackReasons.find((one) => one === asked);
    if (reason !== undefined) return [reason];
    fallback.fail(`on takes ${fallbackReasons.join(", ")}, got ${JSON.stringify(asked)}`, "on", index);
    return [];
  });
}

function readDirectResponse(direct: FieldReader): FallbackSpec["directResponse"] {
  const body = direct.text("body");
  if (Buffer.byteLength(body) > bodyBytesMax) direct.fail("body must be at most 64 KiB", "body");
  return {
    status: direct.number("status", 200, { min: 200, max: 599 }),
    body,
    contentType: direct.text("contentType", "application/json"),
  };
}

/** Envoy's gradient controller: its names and defaults. */
export function readAdaptiveConcurrency(spec: FieldReader): AdaptiveConcurrencySpec | undefined {
  const adaptive = spec.object("adaptiveConcurrency");
  if (adaptive === undefined) return undefined;
  const limit = adaptive.object("concurrencyLimitParams");
  const minRtt = adaptive.object("minRttCalcParams");
  return {
    sampleAggregatePercentile: readPercent(adaptive, "sampleAggregatePercentile", 50),
    concurrencyUpdateIntervalMs: limit?.duration("concurrencyUpdateInterval", 100) || 100,
    maxConcurrencyLimit: limit?.number("maxConcurrencyLimit", 1000, { min: 1 }) ?? 1000,
    minRttIntervalMs: minRtt?.duration("interval", 60_000) || 60_000,
    minRttRequestCount: minRtt?.number("requestCount", 50, { min: 1, max: 10_000 }) ?? 50,
    minRttJitterPercent: minRtt === undefined ? 15 : readPercent(minRtt, "jitter", 15),
    minConcurrency: minRtt?.number("minConcurrency", 3, { min: 1 }) ?? 3,
    minRttBufferPercent: minRtt === undefined ? 25 : readPercent(minRtt, "buffer", 25),
  };
}

/** Envoy's admission control: its names and defaults. */
export function readAdmissionControl(spec: FieldReader): AdmissionControlSpec | undefined {
  const admission = spec.object("admissionControl");
  if (admission === undefined) return undefined;
  const srThreshold = readPercent(admission, "srThreshold", 95);
  if (srThreshold < 1)
    admission.fail("spec.admissionControl.srThreshold must be from 1 to 100", "srThreshold");
  return {
    samplingWindowMs: Math.max(1000, admission.duration("samplingWindow", 30_000)),
    srThreshold,
    aggression: admission.number("aggression", 1, { min: 1 }),
    rpsThreshold: admission.number("rpsThreshold", 0, { min: 0 }),
    maxRejectionProbability: readPercent(admission, "maxRejectionProbability", 80),
  };
}
