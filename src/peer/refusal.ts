import { Code } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import type { HttpReply } from "../net/http1/types.ts";

/** A policy of the callee does not let a call in. An HTTP caller gets the reply, others the code and the message. */
export class Refusal extends GrpcError {
  readonly reply: HttpReply;

  constructor(code: Code, reply: HttpReply, message: string) {
    super(code, message);
    this.name = "Refusal";
    this.reply = reply;
  }
}

const denialText = "RBAC: access denied";

/** It says nothing of who decided, and why. */
export function accessDenied(): Refusal {
  const headers = ["Content-Type", "text/plain"];
  return new Refusal(Code.PermissionDenied, { status: 403, headers, body: denialText }, denialText);
}

/** A token is not good; why is told in the log alone. */
export function tokenRefused(): Refusal {
  const text = "the token is not valid";
  const challenge = ["WWW-Authenticate", 'Bearer realm="mecha", error="invalid_token"'];
  const headers = [...challenge, "Content-Type", "text/plain"];
  return new Refusal(Code.Unauthenticated, { status: 401, headers, body: text }, text);
}

/** The reply of a refusal; other errors go on. */
export function refusedReply(error: unknown): HttpReply {
  if (error instanceof Refusal) return error.reply;
  throw error;
}
