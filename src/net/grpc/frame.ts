import { grpcCode } from "./status.ts";
import { GrpcError } from "./types.ts";

/** One length-prefixed message of gRPC: a flag byte, four bytes of length, the message. */
export interface Frame {
  compressed: boolean;
  payload: Uint8Array;
}

/** A flag byte and the length. */
export const prefixBytes = 5;

/** Prefix and message in one buffer: HTTP/2 then carries them in one DATA frame. */
export function encodeFrame(message: Uint8Array, compressed = false): Buffer {
  const length = message.length;
  const frame = Buffer.allocUnsafe(prefixBytes + length);
  frame[0] = compressed ? 1 : 0;
  frame[1] = length >>> 24;
  frame[2] = length >>> 16;
  frame[3] = length >>> 8;
  frame[4] = length;
  frame.set(message, prefixBytes);
  return frame;
}

/** Pieces below this are copied together: a peer that sends byte by byte costs memory for bytes, not for pieces. */
const pieceBytesMin = 2048;

/**
 * Cuts a byte stream into messages. A message that lies in one chunk is a view of it; another is put together once,
 * when it is complete: memory follows what was received, not what a prefix announces.
 */
export class FrameReader {
  readonly #maxMessageBytes: number;
  #pieces: Uint8Array[] = [];
  /** The last piece, when it was allocated here and has room. */
  #tail: Buffer | undefined;
  #tailBytes = 0;
  #size = 0;
  /** Size of the frame under way, prefix included; 0 while its prefix is not complete. */
  #frameBytes = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Bytes of a message not yet complete, and of those that follow it. */
  get rest(): number {
    return this.#size;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#size += chunk.length;
    if (chunk.length >= pieceBytesMin || this.#pieces.length === 0) {
      this.#closeTail();
      this.#pieces.push(chunk);
    } else this.#append(chunk);
  }

  /** The next whole message; throws a GrpcError for a prefix that cannot be right. */
  next(): Frame | undefined {
    if (this.#size < prefixBytes) return undefined;
    if (this.#frameBytes === 0) this.#frameBytes = this.#readPrefix();
    if (this.#size < this.#frameBytes) return undefined;
    const bytes = this.#take(this.#frameBytes);
    this.#frameBytes = 0;
    return { compressed: bytes[0] === 1, payload: bytes.subarray(prefixBytes) };
  }

  #readPrefix(): number {
    this.#closeTail();
    if ((this.#pieces[0] as Uint8Array).length < prefixBytes) this.#pieces = [Buffer.concat(this.#pieces)];
    const head = this.#pieces[0] as Uint8Array;
    const flag = head[0];
    const length = frameLength(head);
    if (flag !== 0 && flag !== 1) {
      throw new GrpcError(grpcCode.INTERNAL, `grpc: received unexpected payload format ${flag}`);
    }
    if (length > this.#maxMessageBytes) throw messageTooLarge(length, this.#maxMessageBytes);
    return prefixBytes + length;
  }

  #take(size: number): Uint8Array {
    this.#closeTail();
    const first = this.#pieces[0] as Uint8Array;
    const bytes = first.length >= size ? first : Buffer.concat(this.#pieces);
    if (bytes !== first) this.#pieces = [bytes];
    this.#size -= size;
    if (bytes.length === size) {
      this.#pieces.shift();
      return bytes;
    }
    this.#pieces[0] = bytes.subarray(size);
    return bytes.subarray(0, size);
  }

  #append(chunk: Uint8Array): void {
    if (this.#tail === undefined || this.#tailBytes + chunk.length > this.#tail.length) {
      this.#closeTail();
      this.#tail = Buffer.allocUnsafeSlow(2 * pieceBytesMin);
      this.#pieces.push(this.#tail);
    }
    this.#tail.set(chunk, this.#tailBytes);
    this.#tailBytes += chunk.length;
  }

  /** The tail becomes a piece of the bytes it holds, and nothing is added to it any more. */
  #closeTail(): void {
    if (this.#tail === undefined) return;
    this.#pieces[this.#pieces.length - 1] = this.#tail.subarray(0, this.#tailBytes);
    this.#tail = undefined;
    this.#tailBytes = 0;
  }
}

/** The message when `chunk` is exactly one uncompressed frame within the limit: the common unary call. */
export function soleMessage(chunk: Uint8Array, maxMessageBytes: number): Uint8Array | undefined {
  if (chunk.length < prefixBytes || chunk[0] !== 0) return undefined;
  const length = frameLength(chunk);
  if (length !== chunk.length - prefixBytes || length > maxMessageBytes) return undefined;
  return chunk.subarray(prefixBytes);
}

export function messageTooLarge(length: number, maxMessageBytes: number): GrpcError {
  // The wording of grpc-go: SDKs and their tests compare it.
  return new GrpcError(
    grpcCode.RESOURCE_EXHAUSTED,
    `grpc: received message larger than max (${length} vs. ${maxMessageBytes})`,
  );
}

/** Of the message alone. */
export function frameLength(prefix: Uint8Array): number {
  const high = (prefix[1] as number) * 0x1000000;
  return high + (((prefix[2] as number) << 16) | ((prefix[3] as number) << 8) | (prefix[4] as number));
}
