import { didYouMean } from "../kit/nearest.ts";
import type { FieldReader } from "./field-reader.ts";

interface PolicyNames {
  timeout: ReadonlySet<string>;
  retry: ReadonlySet<string>;
  circuitBreaker: ReadonlySet<string>;
}

const builtInPrefix = "DaprBuiltIn";
/** What Dapr lets a policy of the name take the place of. */
const builtIns = ["DaprBuiltInServiceRetries", "DaprBuiltInActorRetries", "DaprBuiltInInitializationRetries"];
const protectedBuiltIn = "DaprBuiltInActorNotFoundRetries";
/** Reminders here are tried again as their own failure policy says. */
const reminderRetries = "DaprBuiltInActorReminderRetries";
const builtInRetriesMin = 3;
const countMax = 2 ** 31 - 1;

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
    count(target, "circuitBreakerCacheSize", 0);
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
  for (const name of timeouts?.names ?? []) if (timeouts) pause(timeouts, name);
  return new Set(timeouts?.names);
}

function readRetry(name: string, retry: FieldReader): string {
  retry.oneOf("policy", ["constant", "exponential"], "constant");
  pause(retry, "duration");
  pause(retry, "maxInterval");
  const retries = count(retry, "maxRetries", -1);
  readMatching(retry.object("matching"));
  if (name === protectedBuiltIn) {
    retry.warn(`${name} can not be overridden; the policy has no effect`);
  } else if (name === reminderRetries) {
    retry.warn(`${name} has no effect: reminders are tried again as their failurePolicy says`);
  } else if (builtIns.includes(name)) {
    if (retry.has("maxRetries") && retries < builtInRetriesMin) {
      retry.warn(
        `${name} makes at least ${builtInRetriesMin} retries: maxRetries counts as that`,
        "maxRetries",
      );
    }
  } else if (name.startsWith(builtInPrefix)) {
    retry.warn(`there is no built-in policy ${name}${didYouMean(name, builtIns)}`);
  }
  return name;
}

function readMatching(matching: FieldReader | undefined): void {
  if (matching === undefined) return;
  readCodes(matching, "httpStatusCodes", { min: 100, max: 599, example: "429,500-599" });
  readCodes(matching, "gRPCStatusCodes", { min: 0, max: 16, example: "1,2,13-14" });
}

function readCodes(
  matching: FieldReader,
  field: string,
  { min, max, example }: { min: number; max: number; example: string },
): void {
  const text = matching.text(field);
  if (text.trim() === "") return;
  const isFine = text.split(",").every((part) => {
    const [, from, to = from] = /^\s*(\d{1,3})(?:-(\d{1,3}))?\s*$/.exec(part) ?? [];
    return from !== undefined && Number(from) >= min && Number(to) <= max && Number(from) <= Number(to);
  });
  if (isFine) return;
  matching.fail(
    `${field} must be codes and ranges like ${example}, from ${min} to ${max}, got ${JSON.stringify(text)}`,
    field,
  );
}

function readBreaker(name: string, breaker: FieldReader): string {
  count(breaker, "maxRequests", 0);
  pause(breaker, "interval");
  pause(breaker, "timeout");
  // Its CEL is checked in resiliency-trips.ts.
  breaker.text("trip");
  return name;
}

function readActor(target: FieldReader, names: PolicyNames): void {
  readTarget(target, names);
  count(target, "circuitBreakerCacheSize", 0);
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
    if (name === "" || names[kind].has(name) || name.startsWith(builtInPrefix)) continue;
    const hint = didYouMean(name, names[kind]);
    // Dapr only logs it, and it may stand in another Resiliency resource.
    target.warn(`${kind} policy ${JSON.stringify(name)} is not defined in this resource${hint}`, kind);
  }
}

/** A bare number is milliseconds, as in Dapr. */
function pause(reader: FieldReader, name: string): void {
  const text = reader.text(name);
  const ms = /^[+-]?\d+$/.test(text) ? Number(text) : reader.duration(name, 0);
  if (ms < 0) reader.fail(`${name} must not be negative, got ${text}`, name);
}

function count(reader: FieldReader, name: string, min: number): number {
  const amount = reader.number(name, min, { min, max: countMax });
  if (!Number.isInteger(amount)) reader.fail(`${name} must be a whole number, got ${amount}`, name);
  return amount;
}
