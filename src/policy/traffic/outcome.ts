import { Code, Fault, httpStatusOf } from "../../errors.ts";
import { BreakerOpen } from "../resilience/breaker.ts";
import type { FailureCode } from "../resilience/codes.ts";
import { AttemptTimeout } from "../resilience/policy.ts";
import type { Shape } from "../use/layer.ts";
import { Refused } from "./refused.ts";

/** How a use ended; a result with a code is a failure that goes to the caller as it is. */
export type Outcome<T> =
  | { kind: "result"; result: T; code: FailureCode | undefined }
  | { kind: "error"; error: unknown };

export async function outcomeOf<T>(work: () => Promise<T>, { codeOf }: Shape<T>): Promise<Outcome<T>> {
  try {
    const result = await work();
    return { kind: "result", result, code: codeOf?.(result) };
  } catch (error) {
    return { kind: "error", error };
  }
}

export function givenBack<T>(outcome: Outcome<T>): T {
  if (outcome.kind === "error") throw outcome.error;
  return outcome.result;
}

/** Lets go of a result that is not given back. */
export function forget<T>(outcome: Outcome<T>, { dispose }: Shape<T>): void {
  if (outcome.kind === "result") dispose?.(outcome.result);
}

/** What failed, in Envoy's words, and Hystrix' `open` and `timeout`. Empty: it is good, or nothing can mend it. */
export function reasonsOf<T>(outcome: Outcome<T>, shape: Shape<T>): ReadonlySet<string> {
  if (outcome.kind === "result") return outcome.code === undefined ? none : reasonsOfCode(outcome.code);
  const { error } = outcome;
  if (error instanceof BreakerOpen) return opened;
  if (error instanceof AttemptTimeout) return late;
  if (error instanceof Refused) return reasonsOfStatus(error.given.fault.http);
  if (isOfPolicy(error)) return reasonsOfStatus(error.http);
  if (shape.isPermanent?.(error)) return error instanceof Fault ? reasonsOfStatus(error.http) : none;
  const broken = brokenLink(error);
  if (broken !== undefined) return new Set(["5xx", broken]);
  return reasonsOfCode(shape.codeOfError?.(error) ?? { unknown: true });
}

const none: ReadonlySet<string> = new Set();
const opened: ReadonlySet<string> = new Set(["open"]);
const late: ReadonlySet<string> = new Set(["timeout", "5xx", "gateway-error", "deadline-exceeded"]);
/** A component says no more than that it failed. */
const unknown: ReadonlySet<string> = new Set(["5xx", "unavailable"]);

const codeReasons: Readonly<Record<number, string>> = {
  [Code.Canceled]: "cancelled",
  [Code.DeadlineExceeded]: "deadline-exceeded",
  [Code.Internal]: "internal",
  [Code.ResourceExhausted]: "resource-exhausted",
  [Code.Unavailable]: "unavailable",
};

function reasonsOfCode(code: FailureCode): ReadonlySet<string> {
  if ("http" in code) return reasonsOfStatus(code.http);
  if (!("grpc" in code)) return unknown;
  const status = httpStatusOf(code.grpc);
  const reasons = new Set([status >= 500 ? "5xx" : "4xx", codeReasons[code.grpc] ?? ""]);
  if (code.grpc === Code.DeadlineExceeded) reasons.add("timeout");
  return reasons;
}

function reasonsOfStatus(status: number): ReadonlySet<string> {
  const reasons = new Set([`${status}`]);
  if (status >= 500) reasons.add("5xx");
  else if (status >= 400) reasons.add("4xx");
  if (status >= 502 && status <= 504) reasons.add("gateway-error");
  if (status === 504) reasons.add("timeout");
  if (status === 409) reasons.add("retriable-4xx");
  return reasons;
}

const unconnected = new Set(["ECONNREFUSED", "ENOTFOUND", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"]);
const reset = new Set(["ECONNRESET", "EPIPE"]);
const unconnectedNames = new Set(["ConnectError", "UnknownApp"]);
const chainMax = 8;

/** The trouble with the connection that is the cause of an error. */
function brokenLink(error: unknown): "connect-failure" | "refused-stream" | "reset" | undefined {
  let cause = error;
  for (let depth = 0; depth < chainMax && cause instanceof Error; depth++, cause = cause.cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    if (unconnected.has(code) || unconnectedNames.has(cause.name)) return "connect-failure";
    if (reset.has(code) || cause.name === "ConnectionLost") return "reset";
    if (cause.message.includes("REFUSED_STREAM")) return "refused-stream";
  }
  return undefined;
}

/** Envoy's list of codes that are the server's doing, and `Unknown`: what a gRPC server makes of an exception. */
const serverCodes: ReadonlySet<number> = new Set([
  ...[Code.Aborted, Code.DataLoss, Code.DeadlineExceeded, Code.Internal, Code.ResourceExhausted],
  ...[Code.Unavailable, Code.Unknown],
]);

/** Whether the target is to blame: not its caller, and not a policy in between. */
export function isTargetsFailure<T>(outcome: Outcome<T>, shape: Shape<T>): boolean {
  if (outcome.kind === "result") return outcome.code !== undefined && isServerCode(outcome.code);
  const { error } = outcome;
  if (error instanceof Refused || error instanceof BreakerOpen || isOfPolicy(error)) return false;
  if (shape.signal?.aborted || shape.isPermanent?.(error)) return false;
  if (error instanceof AttemptTimeout || brokenLink(error) !== undefined) return true;
  const code = shape.codeOfError?.(error);
  return code === undefined || isServerCode(code);
}

function isServerCode(code: FailureCode): boolean {
  if ("http" in code) return code.http >= 500;
  return !("grpc" in code) || serverCodes.has(code.grpc);
}

/** A layer beside these has answered. */
function isOfPolicy(error: unknown): error is Fault {
  return error instanceof Fault && error.code === "ERR_POLICY";
}
