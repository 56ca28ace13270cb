import { STATUS_CODES } from "node:http";
import { IncomingBody } from "./body.ts";
import type { HttpReply } from "./types.ts";

/** A reply of the server's own. */
export function plainReply(status: number, text = STATUS_CODES[status] ?? "error"): HttpReply {
  return { status, headers: ["Content-Type", "text/plain"], body: `${text}\n` };
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
