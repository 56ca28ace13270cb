import { readDestination } from "./destination.ts";
import type { FieldReader } from "./field-reader.ts";
import type { SingletonSpec } from "./resource.ts";

const leaseDefaultMs = 15_000;
const leaseLeastMs = 500;

/** A group that has one leader at a time. Without `spec.group` it is called as the resource. */
export function readSingleton(spec: FieldReader): SingletonSpec {
  const leaseDurationMs = spec.duration("leaseDuration", leaseDefaultMs);
  if (leaseDurationMs < leaseLeastMs) {
    spec.fail(`spec.leaseDuration must be at least ${leaseLeastMs}ms`, "leaseDuration");
  }
  const renewDeadlineMs = spec.duration("renewDeadline", (leaseDurationMs * 2) / 3);
  if (renewDeadlineMs >= leaseDurationMs || renewDeadlineMs <= leaseDurationMs / 3) {
    const why =
      "spec.renewDeadline must be between a third of leaseDuration, when it is renewed, and its end";
    spec.fail(why, "renewDeadline");
  }
  spec.missing("store", (value) => value === "");
  spec.missing("fencing", (value) => value === true);
  return {
    group: spec.text("group"),
    members: readMembers(spec),
    leaseDurationMs,
    renewDeadlineMs,
    retryPeriodMs: spec.duration("retryPeriod", (leaseDurationMs * 2) / 15),
    onAcquire: readCallback(spec, "onAcquire"),
    onLose: readCallback(spec, "onLose"),
  };
}

/** App ids, or refs to apps. */
function readMembers(spec: FieldReader): string[] {
  const members = spec.raw("members");
  if (!Array.isArray(members) || members.every((member) => typeof member !== "object"))
    return spec.texts("members");
  return spec.list("members").map((member) => {
    const kind = member.requiredText("kind");
    if (kind !== "App")
      member.fail(`members of kind ${JSON.stringify(kind)} are not implemented; App is`, "kind");
    return member.requiredText("name");
  });
}

function readCallback(spec: FieldReader, name: string): SingletonSpec["onAcquire"] {
  const destination = readDestination(spec, name);
  if (destination?.kind === "topic") {
    spec.fail(`spec.${name} calls apps only: like app://orders/leading`, name);
    return undefined;
  }
  return destination;
}
