import { STATUS_CODES } from "node:http";
import { IncomingBody } from "./body.ts";
import type { HttpParseError } from "./errors.ts";
import { replyHead } from "./reply-head.ts";
import type { HttpReply } from "./types.ts";

/** A reply of the server's own. */
export function plainReply(status: number, text = STATUS_CODES[status] ?? "error"): HttpReply {
  return { status, headers: ["Content-Type", "text/plain"], body: `${text}\n` };
}

/** The whole answer to bytes that are not a request; the connection ends with it. */
export function refusal(error: HttpParseError): string {
  const reply = plainReply(error.status, error.message);
  const text = reply.body as string;
  const context = { method: "GET", minor: 1, closes: true, sendsDate: false };
  return replyHead(reply, text.length, context).text + text;
}

/** A reply that cannot be sent: its body's producer is told. */
export function abandon(reply: HttpReply | undefined): void {
  const body = reply?.body;
  if (typeof body !== "object" || body instanceof Uint8Array) return;
  if (body instanceof IncomingBody) body.discard();
  else
    body[Symbol.asyncIterator]()
      .return?.()
      ?.then(undefined, () => {});
}
