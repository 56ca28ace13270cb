import { grpcCode } from "./status.ts";
import { GrpcError } from "./types.ts";

/** One length-prefixed message of gRPC: a flag byte, four bytes of length, the message. */
export interface Frame {
  compressed: boolean;
  payload: Uint8Array;
}

const prefixBytes = 5;

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

const empty = new Uint8Array(0);

/**
 * Cuts a byte stream into messages. A message that lies in one chunk is a view of it. Otherwise its bytes are copied
 * into a buffer that doubles as they arrive: memory follows what was received, not what a prefix announces, and a
 * peer that sends one byte at a time costs no more.
 */
export class FrameReader {
  readonly #maxMessageBytes: number;
  #buffer: Uint8Array = empty;
  /** `#buffer` was allocated here and may be appended to. */
  #isOwned = false;
  #start = 0;
  #end = 0;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Bytes of a message not yet complete. */
  get rest(): number {
    return this.#end - this.#start;
  }

  push(chunk: Uint8Array): void {
    if (this.#start === this.#end) {
      this.#buffer = chunk;
      this.#isOwned = false;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    if (!this.#isOwned || this.#end + chunk.length > this.#buffer.length) this.#grow(chunk.length);
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** The next whole message; throws a GrpcError for a prefix that cannot be right. */
  next(): Frame | undefined {
    const available = this.#end - this.#start;
    if (available < prefixBytes) return undefined;
    const flag = this.#buffer[this.#start];
    const length = frameLength(this.#buffer, this.#start);
    if (flag !== 0 && flag !== 1) {
      throw new GrpcError(grpcCode.INTERNAL, `grpc: received unexpected payload format ${flag}`);
    }
    if (length > this.#maxMessageBytes) throw messageTooLarge(length, this.#maxMessageBytes);
    if (available < prefixBytes + length) return undefined;
    const from = this.#start + prefixBytes;
    this.#start = from + length;
    const payload = this.#buffer.subarray(from, this.#start);
    if (this.#start === this.#end) this.#buffer = empty;
    return { compressed: flag === 1, payload };
  }

  #grow(more: number): void {
    const held = this.#end - this.#start;
    const buffer = Buffer.allocUnsafeSlow(Math.max(held + more, held * 2, 1024));
    buffer.set(this.#buffer.subarray(this.#start, this.#end));
    this.#buffer = buffer;
    this.#isOwned = true;
    this.#start = 0;
    this.#end = held;
  }
}

/** The message when `chunk` is exactly one uncompressed frame within the limit: the common unary call. */
export function soleMessage(chunk: Uint8Array, maxMessageBytes: number): Uint8Array | undefined {
  if (chunk.length < prefixBytes || chunk[0] !== 0) return undefined;
  const length = frameLength(chunk, 0);
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

function frameLength(bytes: Uint8Array, at: number): number {
  const high = (bytes[at + 1] as number) * 0x1000000;
  return (
    high + (((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number))
  );
}
