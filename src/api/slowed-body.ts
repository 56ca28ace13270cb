import type { HttpReply } from "../net/http1/types.ts";

/** Pieces of an answer go out so often, as Envoy's do. */
const piecesPerSecond = 16;

/** The reply with its body held back to a rate. */
export function slowedReply(
  reply: HttpReply,
  bytesPerSecond: number,
  pause: (ms: number) => Promise<void>,
): HttpReply {
  const { headers } = reply;
  const body = typeof reply.body === "string" ? Buffer.from(reply.body) : reply.body;
  if (body === undefined || reply.status === 101) return reply;
  if (!(body instanceof Uint8Array)) return { ...reply, body: paced(body, bytesPerSecond, pause) };
  const lines = hasLength(headers) ? headers : [...headers, "Content-Length", `${body.length}`];
  return { ...reply, headers: lines, body: paced([body], bytesPerSecond, pause) };
}

function hasLength(headers: readonly string[]): boolean {
  return headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === "content-length");
}

async function* paced(
  source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  bytesPerSecond: number,
  pause: (ms: number) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  const pieceBytes = Math.max(1, Math.ceil(bytesPerSecond / piecesPerSecond));
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes);
      await pause((piece.length / bytesPerSecond) * 1000);
      yield piece;
    }
  }
}
