import { Code, errors, type Fault } from "../errors.ts";
import { grpcCodeGoName } from "../net/grpc/status.ts";
import { GrpcError, metadataOfLines } from "../net/grpc/types.ts";
import { BodyTooLarge } from "../net/http1/errors.ts";
import { Refusal } from "./refusal.ts";

/** Texts that callers and tests of Dapr compare (dapr-api.md §12). */
export const appUnhealthy = "app is not in a healthy state";
export const noRemoteChannel = "app channel is not initialized";
export const noOwnChannel = "cannot invoke local endpoint: app channel not initialized";

/** The callee refuses a call for now, and says when it may come again. */
export class RefusedCall extends GrpcError {
  readonly http: number;
  readonly headers: readonly string[];

  constructor(message: string, { http, headers }: { http: number; headers: readonly string[] }) {
    super(Code.ResourceExhausted, message, { metadata: metadataOfLines(headers) });
    this.name = "RefusedCall";
    this.http = http;
    this.headers = headers;
  }
}

export function unhealthy(): GrpcError {
  return new GrpcError(Code.Internal, appUnhealthy);
}

/** An error as Go prints it: with its code when it has one. */
export function failureText(error: unknown): string {
  if (error instanceof GrpcError)
    return `rpc error: code = ${grpcCodeGoName(error.code)} desc = ${error.message}`;
  if (isTooLarge(error)) return "stream too large";
  return error instanceof Error ? error.message : String(error);
}

/** The request's body went over the limit: at once, or while it was being sent. */
function isTooLarge(error: unknown): boolean {
  return error instanceof BodyTooLarge || (error instanceof Error && error.cause instanceof BodyTooLarge);
}

/** What the caller of `/v1.0/invoke` sees when its call did not get to an answer of the app. */
export function invokeFault(id: string, error: unknown): Fault {
  const isDenied = error instanceof GrpcError && error.code === Code.PermissionDenied;
  const hint = (error as { hint?: unknown } | undefined)?.hint;
  return errors.INVOKE(id, failureText(error), {
    cause: error,
    ...(typeof hint === "string" && { hint }),
    ...(isDenied && { http: 403, grpc: Code.PermissionDenied }),
    ...(error instanceof Refusal && { http: error.reply.status, grpc: error.code as Code }),
    ...(error instanceof RefusedCall && {
      http: error.http,
      grpc: error.code as Code,
      headers: error.headers,
    }),
  });
}

/** How a callee's mecha names the failure of its app to the caller's. */
export function appCallFailure(error: unknown): GrpcError {
  return new GrpcError(Code.Internal, `error invoking app channel: ${failureText(error)}`, { cause: error });
}
