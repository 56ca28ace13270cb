import { didYouMean } from "../kit/nearest.ts";
import type { FieldReader } from "./field-reader.ts";

interface PolicyNames {
  timeout: ReadonlySet<string>;
  retry: ReadonlySet<string>;
  circuitBreaker: ReadonlySet<string>;
}

/** Checks the structure and the references; the policies themselves are built by `policy/` from the plain values. */
export function readResiliency(spec: FieldReader): Record<string, unknown> {
  const policies = spec.object("policies");
  const names: PolicyNames = {
    timeout: readTimeouts(policies),
    retry: new Set(policies?.objects("retries").map(([name, retry]) => readRetry(name, retry))),
    circuitBreaker: new Set(
      policies?.objects("circuitBreakers").map(([name, one]) => readBreaker(name, one)),
    ),
  };
  const targets = spec.object("targets");
  for (const [, target] of targets?.objects("apps") ?? []) {
    readTarget(target, names);
    target.number("circuitBreakerCacheSize", 5000, { min: 1 });
  }
  for (const [, target] of targets?.objects("actors") ?? []) readActor(target, names);
  for (const [, target] of targets?.objects("components") ?? []) {
    for (const direction of ["inbound", "outbound"]) {
      const one = target.object(direction);
      if (one) readTarget(one, names);
    }
  }
  return { policies: spec.raw("policies") ?? {}, targets: spec.raw("targets") ?? {} };
}

function readTimeouts(policies: FieldReader | undefined): ReadonlySet<string> {
  const timeouts = policies?.object("timeouts");
  for (const name of timeouts?.names ?? []) timeouts?.duration(name, 0);
  return new Set(timeouts?.names);
}

function readRetry(name: string, retry: FieldReader): string {
  retry.oneOf("policy", ["constant", "exponential"], "constant");
  retry.duration("duration", 0);
  retry.duration("maxInterval", 0);
  retry.number("maxRetries", -1, { min: -1 });
  const matching = retry.object("matching");
  for (const field of ["httpStatusCodes", "gRPCStatusCodes"]) {
    const codes = matching?.text(field) ?? "";
    if (codes !== "" && !/^\s*\d+(-\d+)?(\s*,\s*\d+(-\d+)?)*\s*$/.test(codes)) {
      matching?.fail(
        `${field} must be codes and ranges like 429,500-599, got ${JSON.stringify(codes)}`,
        field,
      );
    }
  }
  return name;
}

function readBreaker(name: string, breaker: FieldReader): string {
  breaker.number("maxRequests", 1, { min: 0 });
  breaker.duration("interval", 0);
  breaker.duration("timeout", 0);
  breaker.text("trip");
  return name;
}

function readActor(target: FieldReader, names: PolicyNames): void {
  readTarget(target, names);
  target.number("circuitBreakerCacheSize", 5000, { min: 1 });
  const scope = target.oneOf("circuitBreakerScope", ["type", "id", "both", "none"], "none");
  if (target.text("circuitBreaker") !== "" && scope === "none") {
    target.fail(
      "circuitBreakerScope is missing: it must be type, id or both where there is a circuitBreaker",
    );
  }
}

function readTarget(target: FieldReader, names: PolicyNames): void {
  for (const kind of ["timeout", "retry", "circuitBreaker"] as const) {
    const name = target.text(kind);
    if (name === "" || names[kind].has(name) || name.startsWith("DaprBuiltIn")) continue;
    const hint = didYouMean(name, names[kind]);
    // Dapr only logs it, and it may stand in another Resiliency resource.
    target.warn(`${kind} policy ${JSON.stringify(name)} is not defined in this resource${hint}`, kind);
  }
}
