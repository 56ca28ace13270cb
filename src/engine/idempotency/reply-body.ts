import type { HttpReply } from "../../net/http1/types.ts";

/** A reply whose body is here, or is too large to be kept and goes on as a stream. */
export type CollectedReply = { reply: HttpReply; body: Uint8Array } | { reply: HttpReply; body: undefined };

/** Reads a body up to a bound. */
export async function collectReply(reply: HttpReply, bytesMax: number): Promise<CollectedReply> {
  const { body } = reply;
  if (body === undefined) return { reply, body: new Uint8Array(0) };
  if (typeof body === "string") return bounded(reply, Buffer.from(body), bytesMax);
  if (body instanceof Uint8Array) return bounded(reply, body, bytesMax);
  const source = body[Symbol.asyncIterator]();
  const pieces: Uint8Array[] = [];
  let total = 0;
  for (let next = await source.next(); !next.done; next = await source.next()) {
    // A copy: the source may use its buffer again.
    pieces.push(next.value.slice());
    total += next.value.length;
    if (total > bytesMax) return { reply: { ...reply, body: rest(pieces, source) }, body: undefined };
  }
  const whole = Buffer.concat(pieces);
  return { reply: { ...reply, body: whole }, body: whole };
}

function bounded(reply: HttpReply, body: Uint8Array, bytesMax: number): CollectedReply {
  return body.length <= bytesMax ? { reply, body } : { reply, body: undefined };
}

async function* rest(
  pieces: readonly Uint8Array[],
  source: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* pieces;
    for (let next = await source.next(); !next.done; next = await source.next()) yield next.value;
  } finally {
    await source.return?.();
  }
}

export function headerOf({ headers }: { headers: readonly string[] }, lowerName: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() === lowerName) return headers[i + 1];
  }
  return undefined;
}
