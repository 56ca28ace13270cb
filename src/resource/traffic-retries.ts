import type { FieldReader } from "./field-reader.ts";
import type { HedgingSpec, RetriesSpec, RetryBudgetSpec } from "./traffic.ts";
import { readPercent } from "./traffic-faults.ts";

const attemptsMax = 100;
const backoffDefaultMs = 25;
const backoffFactor = 10;
const retryAfterDefaultMs = 300_000;
const extraMax = 10;
const retryOnDefault = "connect-failure,refused-stream,unavailable,cancelled";

/** Envoy's names of what is worth another try. */
const retryReasons = [
  ...["5xx", "gateway-error", "reset", "connect-failure", "refused-stream"],
  ...["retriable-4xx", "retriable-status-codes"],
  ...["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"],
];

export function readRetries(spec: FieldReader): RetriesSpec | undefined {
  const retries = spec.object("retries");
  if (retries === undefined) return undefined;
  const backoffMs = retries.duration("backoff", backoffDefaultMs);
  const backoffMaxMs = retries.duration("maxBackoff", backoffMs * backoffFactor);
  if (backoffMaxMs < backoffMs)
    retries.fail("spec.retries.maxBackoff must not be shorter than backoff", "maxBackoff");
  return {
    attempts: retries.number("attempts", 2, { min: 0, max: attemptsMax }),
    perTryTimeoutMs: retries.duration("perTryTimeout", 0),
    ...readRetryOn(retries),
    backoffMs,
    backoffMaxMs,
    ignorePreviousHosts: retries.flag("ignorePreviousHosts", true),
    retryAfterMaxMs: retries.duration("retryAfterMax", retryAfterDefaultMs),
  };
}

/** `5xx,503,reset`: a status in the list is one of `retriable-status-codes`, as in Istio. */
function readRetryOn(retries: FieldReader): Pick<RetriesSpec, "retryOn" | "retriableStatusCodes"> {
  const isList = Array.isArray(retries.raw("retryOn"));
  const asked = isList ? retries.texts("retryOn") : retries.text("retryOn", retryOnDefault).split(",");
  const codes = retries.numbers("retriableStatusCodes");
  const retryOn: string[] = [];
  for (const one of asked.map((word) => word.trim()).filter((word) => word !== "")) {
    const reason = retryReasons.find((known) => known === one.toLowerCase());
    if (reason !== undefined) retryOn.push(reason);
    else if (/^[1-5]\d\d$/.test(one)) codes.push(Number(one));
    else retries.fail(`retryOn takes ${retryReasons.join(", ")} and statuses, got ${one}`, "retryOn");
  }
  if (codes.length > 0) retryOn.push("retriable-status-codes");
  return { retryOn, retriableStatusCodes: codes };
}

export function readRetryBudget(spec: FieldReader): RetryBudgetSpec | undefined {
  const budget = spec.object("retryBudget");
  if (budget === undefined) return undefined;
  return {
    percent: readPercent(budget, "percent", 20),
    minRetryConcurrency: budget.number("minRetryConcurrency", 3, { min: 0 }),
    budgetIntervalMs: budget.duration("budgetInterval", 0),
  };
}

export function readHedging(spec: FieldReader): HedgingSpec | undefined {
  const hedging = spec.object("hedging");
  if (hedging === undefined) return undefined;
  hedging.refused("onPerTryTimeout", () => false);
  const delayMs = hedging.duration("delay", 0);
  if (delayMs <= 0) hedging.fail("spec.hedging.delay must be longer than 0s", "delay");
  const methods = hedging.has("methods") ? hedging.texts("methods") : ["GET", "HEAD"];
  return { delayMs, maxExtra: hedging.number("maxExtra", 1, { min: 1, max: extraMax }), methods };
}
