import { Code } from "../../errors.ts";
import { GrpcError } from "../../net/grpc/types.ts";
import {
  BodyAborted,
  ConnectError,
  ConnectionLost,
  HttpParseError,
  RequestAborted,
  ResponseTimeout,
} from "../../net/http1/errors.ts";
import type { Outcome } from "./upstream.ts";

/** By gRPC code. */
const statuses = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
const cancelled = 499;

export function httpStatusOfGrpc(code: number): number {
  return statuses[code] ?? 500;
}

export type Verdict = Pick<Outcome, "origin" | "status">;

/** Calls that their caller ended say nothing. */
export function answered(status: number): Verdict {
  return { origin: status === cancelled ? "none" : "answer", status };
}

export function verdictOfError(error: unknown): Verdict {
  if (error instanceof GrpcError) return answered(statusOfPeer(error.code));
  if (error instanceof RequestAborted) {
    return isTimeout(error.cause) ? { origin: "local", status: 504 } : { origin: "none", status: cancelled };
  }
  if (error instanceof ResponseTimeout) return { origin: "local", status: 504 };
  if (error instanceof ConnectError) {
    const isOwn = error.code === "EPOOLFULL" || error.code === "ECANCELED";
    return { origin: isOwn ? "none" : "local", status: 503 };
  }
  const isBroken =
    error instanceof ConnectionLost || error instanceof HttpParseError || error instanceof BodyAborted;
  return isBroken ? { origin: "local", status: 502 } : { origin: "none", status: cancelled };
}

/** What the other mecha says in the place of its app: it is the gateway then. */
function statusOfPeer(code: number): number {
  if (code === Code.Internal) return 502;
  // Another process, or another app, has this port by now.
  if (code === Code.Unauthenticated || code === Code.NotFound) return 503;
  return httpStatusOfGrpc(code);
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof Error && /timeout|deadline/i.test(`${reason.name} ${reason.message}`);
}
