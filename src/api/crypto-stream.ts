import { errors } from "../errors.ts";
import type { StreamPayload } from "../wire/dapr/proto/common/v1/common_pb.js";

/** A message of the streams of encryption, of either direction. */
export interface CryptoChunk {
  options?: unknown;
  payload?: Pick<StreamPayload, "data" | "seq">;
}

const firstChunkTimeoutMs = 5_000;

/** The message that opens the stream, which has to come soon. */
export async function firstChunk<T extends CryptoChunk>(
  incoming: AsyncIterator<T>,
  signal: AbortSignal,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(firstChunkTimeoutMs)]);
  const expired = (): void =>
    late.reject(errors.BAD_REQUEST("error waiting for first message: context deadline exceeded"));
  timeout.addEventListener("abort", expired, { once: true });
  try {
    const first = await Promise.race([incoming.next(), late.promise]);
    if (first.done) throw errors.CRYPTO("error receiving the first message: EOF");
    return first.value;
  } finally {
    timeout.removeEventListener("abort", expired);
  }
}

/** The bytes that the messages carry; asks for the next message when they were taken. */
export async function* payloadsOf(
  first: CryptoChunk,
  incoming: AsyncIterator<CryptoChunk>,
): AsyncGenerator<Uint8Array> {
  let expected = 0n;
  for (let chunk = first; ; ) {
    const { payload } = chunk;
    if (payload !== undefined) {
      if (payload.seq !== expected)
        throw new Error(`invalid sequence number received: ${payload.seq} (expected: ${expected})`);
      expected++;
      yield payload.data;
    }
    const next = await incoming.next();
    if (next.done) return;
    chunk = next.value;
    if (chunk.options !== undefined) throw new Error("options found in non-leading message");
  }
}
