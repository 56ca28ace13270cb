import { Fault } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import type { HttpReply } from "../net/http1/types.ts";
import { notToKeep } from "../policy/cache/reply.ts";
import type { FailureCode } from "../policy/resilience/codes.ts";
import type { GivenAnswer } from "../policy/use/layer.ts";
import { slowedReply } from "./slowed-body.ts";

/** What policies can know and make of answers to HTTP calls. */
export const httpShape = {
  codeOf: codeOfReply,
  codeOfError,
  answer: answerOf,
  good: answerOf,
  headerOf: headerOfReply,
  slowed: slowedReply,
  dispose,
  headed: headedReply,
};

/** As the fault would be told, or with the body that a policy gives. */
function answerOf({ fault, headers = [], body }: GivenAnswer): HttpReply {
  const { code, http, message } = fault;
  if (body !== undefined) return notToKeep({ status: http, headers: [...headers], body });
  const lines = [...headers, "Content-Type", "application/json"];
  return notToKeep({
    ...{ status: http, headers: lines },
    body: JSON.stringify({ errorCode: code, message }),
  });
}

/** Everything outside 2xx and 3xx is a failure, that goes to the caller as it is when no try is left. */
function codeOfReply({ status }: HttpReply): FailureCode | undefined {
  return status === 101 || (status >= 200 && status < 400) ? undefined : { http: status };
}

function headerOfReply({ headers }: HttpReply, lowerName: string): string | undefined {
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === lowerName);
  return at < 0 ? undefined : headers[at + 1];
}

export function codeOfError(error: unknown): FailureCode | undefined {
  if (error instanceof GrpcError) return { grpc: error.code };
  return error instanceof Fault ? { grpc: error.grpc } : undefined;
}

/** With more header lines. */
function headedReply(reply: HttpReply, headers: readonly string[]): HttpReply {
  return { ...reply, headers: [...reply.headers, ...headers] };
}

/** Ends the body of a reply that nobody will read, so that its connection is free again. */
function dispose({ body }: HttpReply): void {
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) return;
  const ended = body[Symbol.asyncIterator]().return?.();
  ended?.catch(() => {});
}
