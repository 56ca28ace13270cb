import { fromBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { ServerUnavailable } from "../component/server-unavailable.ts";
import { EtagInvalid, EtagMismatch } from "../component/state-store.ts";
import { type Code, Fault } from "../errors.ts";
import { type GrpcError, grpcCode } from "../net/grpc/index.ts";
import { BadRequestSchema, ErrorInfoSchema } from "../wire/google/rpc/error_details_pb.js";

const codesOfLoss = new Set<number>([grpcCode.UNAVAILABLE, grpcCode.DEADLINE_EXCEEDED, grpcCode.CANCELLED]);

const etagErrors = new Map<number, typeof EtagMismatch | typeof EtagInvalid>([
  [grpcCode.FAILED_PRECONDITION, EtagMismatch],
  [grpcCode.INVALID_ARGUMENT, EtagInvalid],
]);

/** What a call failed with, as the layer above knows it. `whenLost`: whether a call that got no answer was done. */
export function failureOf(error: GrpcError, whenLost: "undone" | "unknown"): Error {
  if (codesOfLoss.has(error.code)) return asUnavailable(error, whenLost);
  const [detail, ...others] = error.details;
  if (detail === undefined || others.length > 0) return error;
  try {
    const { typeUrl, value } = fromBinary(AnySchema, detail);
    const kind = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
    if (kind === "google.rpc.BadRequest") return etagFailure(error, value) ?? error;
    if (kind === "google.rpc.ErrorInfo") return ownFault(error, value) ?? error;
  } catch {
    // Details that can not be read say nothing.
  }
  return error;
}

export function asUnavailable(error: GrpcError, outcome: "undone" | "unknown"): ServerUnavailable {
  const text =
    error.code === grpcCode.DEADLINE_EXCEEDED ? "the component has not answered in time" : error.message;
  return new ServerUnavailable(text, outcome, error);
}

/** Etag errors are told by a violation of the field `etag`; the code says which. */
function etagFailure(error: GrpcError, detail: Uint8Array): Error | undefined {
  const Kind = etagErrors.get(error.code);
  const [violation, ...more] = fromBinary(BadRequestSchema, detail).fieldViolations;
  if (Kind === undefined || violation?.field !== "etag" || more.length > 0) return undefined;
  return Object.assign(new Kind(violation.description || undefined), { cause: error });
}

/** An error that says itself how it is told over HTTP: Dapr marks those of its own kind. */
function ownFault(error: GrpcError, detail: Uint8Array): Fault | undefined {
  const { reason, metadata } = fromBinary(ErrorInfoSchema, detail);
  const http = Number(metadata.http_code);
  const isStatus = Number.isInteger(http) && http >= 400 && http <= 599;
  if (metadata.kit_error !== "true" || !isStatus) return undefined;
  const row = { code: metadata.tag || reason, reason, http, grpc: error.code as Code };
  return new Fault(row, error.message, { cause: error });
}
