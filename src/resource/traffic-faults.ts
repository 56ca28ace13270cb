import type { FieldReader } from "./field-reader.ts";
import type { FaultSpec } from "./traffic.ts";

/** No header can ask for a longer one either. */
export const faultDelayMaxMs = 5 * 60_000;

/** Faults that are put in on purpose, in Istio's words; on everything an app uses, not only on HTTP. */
export function readFault(spec: FieldReader): FaultSpec | undefined {
  const fault = spec.object("fault");
  if (fault === undefined) return undefined;
  const read: FaultSpec = {
    delay: readDelay(fault),
    abort: readAbort(fault),
    bandwidthKbps: fault.number("bandwidthKbps", 0, { min: 0 }),
    commands: fault.texts("commands").map((command) => command.toLowerCase()),
    match: readMatch(fault),
    isHeaderControlled: fault.flag("headerControlled", false),
  };
  const isIdle = !read.delay && !read.abort && read.bandwidthKbps === 0 && !read.isHeaderControlled;
  if (isIdle) spec.fail("spec.fault needs delay, abort, bandwidthKbps or headerControlled", "fault");
  return read;
}

function readDelay(fault: FieldReader): FaultSpec["delay"] {
  const delay = fault.object("delay");
  if (delay === undefined) return undefined;
  const fixedDelayMs = delay.duration("fixedDelay", 0);
  const isFine = fixedDelayMs > 0 && fixedDelayMs <= faultDelayMaxMs;
  if (!isFine) delay.fail("spec.fault.delay.fixedDelay must be longer than 0s and at most 5m", "fixedDelay");
  return { percentage: readPercent(delay, "percentage", 0), fixedDelayMs };
}

function readAbort(fault: FieldReader): FaultSpec["abort"] {
  const abort = fault.object("abort");
  if (abort === undefined) return undefined;
  const hasGrpc = abort.has("grpcStatus");
  if (hasGrpc && abort.has("httpStatus")) {
    abort.fail("spec.fault.abort takes httpStatus or grpcStatus, not both", "grpcStatus");
  }
  return {
    percentage: readPercent(abort, "percentage", 0),
    httpStatus: abort.number("httpStatus", 503, { min: 200, max: 599 }),
    grpcStatus: hasGrpc ? readGrpcStatus(abort) : undefined,
    error: abort.text("error", "fault filter abort"),
  };
}

const grpcNames = [
  ...["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"],
  ...["PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"],
  ...["UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"],
];

/** A name, as Istio has it, or a number. */
function readGrpcStatus(abort: FieldReader): number {
  const text = abort.text("grpcStatus");
  const named = grpcNames.indexOf(text.toUpperCase());
  const code = named >= 0 ? named : Number(text);
  if (Number.isInteger(code) && code > 0 && code < grpcNames.length) return code;
  abort.fail("spec.fault.abort.grpcStatus must be like UNAVAILABLE or a number from 1 to 16", "grpcStatus");
  return 14;
}

function readMatch(fault: FieldReader): FaultSpec["match"] {
  const match = fault.object("match");
  if (match === undefined) return { pathPrefix: "", headers: [] };
  const path = match.object("path");
  path?.oneOf("type", ["PathPrefix"], "PathPrefix");
  const pathPrefix = path?.requiredText("value") ?? match.text("prefix");
  if (path !== undefined && match.has("prefix"))
    match.fail("spec.fault.match takes path or prefix, not both", "prefix");
  const headers = match.list("headers").map((header) => {
    header.oneOf("type", ["Exact"], "Exact");
    return { name: header.requiredText("name").toLowerCase(), value: header.text("value") };
  });
  return { pathPrefix, headers };
}

/** `{value: 5}`, as Istio and Envoy have it, or the number alone. */
export function readPercent(parent: FieldReader, name: string, fallback: number, max = 100): number {
  if (typeof parent.raw(name) !== "object") return parent.number(name, fallback, { min: 0, max });
  return parent.object(name)?.number("value", fallback, { min: 0, max }) ?? fallback;
}
