import { fromBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { ServerUnavailable } from "../component/server-unavailable.ts";
import { EtagInvalid, EtagMismatch } from "../component/state-store.ts";
import { type GrpcError, grpcCode } from "../net/grpc/index.ts";
import { BadRequestSchema } from "../wire/google/rpc/error_details_pb.js";

const codesOfLoss = new Set<number>([grpcCode.UNAVAILABLE, grpcCode.DEADLINE_EXCEEDED, grpcCode.CANCELLED]);

const etagErrors = new Map<number, typeof EtagMismatch | typeof EtagInvalid>([
  [grpcCode.FAILED_PRECONDITION, EtagMismatch],
  [grpcCode.INVALID_ARGUMENT, EtagInvalid],
]);

/** What a call failed with, as the layer above knows it. `whenLost`: whether a call that got no answer was done. */
export function failureOf(error: GrpcError, whenLost: "undone" | "unknown"): Error {
  return codesOfLoss.has(error.code) ? asUnavailable(error, whenLost) : etagFailure(error);
}

export function asUnavailable(error: GrpcError, outcome: "undone" | "unknown"): ServerUnavailable {
  const text =
    error.code === grpcCode.DEADLINE_EXCEEDED ? "the component has not answered in time" : error.message;
  return new ServerUnavailable(text, outcome, error);
}

/** Etag errors are told by a violation of the field `etag`; the code says which. */
function etagFailure(error: GrpcError): Error {
  const Kind = etagErrors.get(error.code);
  const [detail, ...others] = error.details;
  if (Kind === undefined || detail === undefined || others.length > 0) return error;
  try {
    const { typeUrl, value } = fromBinary(AnySchema, detail);
    if (!typeUrl.endsWith("/google.rpc.BadRequest")) return error;
    const [violation, ...more] = fromBinary(BadRequestSchema, value).fieldViolations;
    if (violation?.field !== "etag" || more.length > 0) return error;
    return Object.assign(new Kind(violation.description || undefined), { cause: error });
  } catch {
    // Details that can not be read say nothing.
    return error;
  }
}
