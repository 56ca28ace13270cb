import { frameLength, prefixBytes } from "./frame.ts";
import type { GrpcError, RequestStart, RequestStartOptions } from "./types.ts";

/** Pieces below this are copied together: a client that sends byte by byte costs memory for bytes, not for pieces. */
const pieceBytesMin = 2048;
/** A client that has sent its only message says at once that it was the only one. */
const endMs = 100;
/** A stream that rests that long waits for an answer. */
const restMs = 5_000;

/** What has come of the request of a proxied call, its messages in their frames. */
export class HeldRequest {
  bytes = 0;
  isEnded = false;
  #pieces: Uint8Array[] = [];
  /** The last piece, when it was allocated here and has room. */
  #tail: Buffer | undefined;
  #tailBytes = 0;
  #waiting: WaitingStart | undefined;

  add(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    if (chunk.length >= pieceBytesMin || this.#pieces.length === 0) {
      this.#closeTail();
      this.#pieces.push(chunk);
    } else this.#append(chunk);
    this.#look();
  }

  end(): void {
    this.isEnded = true;
    this.#look();
  }

  get pieces(): readonly Uint8Array[] {
    this.#closeTail();
    return this.#pieces;
  }

  /** At most one message. */
  get isOneMessage(): boolean {
    const { bytes } = this;
    return bytes <= prefixBytes || bytes <= this.#firstBytes;
  }

  /** Somebody waits for more. */
  get isAwaited(): boolean {
    return this.#waiting !== undefined;
  }

  /**
   * What it begins with: all of it, or one byte too many. Of a stream that goes on it is the first message, or nothing where
   * only the whole is of use.
   */
  start(options: RequestStartOptions): Promise<RequestStart> {
    const { promise, resolve, reject } = Promise.withResolvers<RequestStart>();
    this.#waiting = { options, resolve, reject, timer: undefined };
    this.#look();
    return promise;
  }

  /** Nothing more comes. */
  cancel(reason: GrpcError): void {
    clearTimeout(this.#waiting?.timer);
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }

  #look(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    clearTimeout(waiting.timer);
    const { bytesMax, needsWhole } = waiting.options;
    const hasMessage = this.bytes >= prefixBytes && this.bytes >= this.#firstBytes;
    const isKnown = needsWhole ? this.bytes > bytesMax : this.bytes > bytesMax || !this.isOneMessage;
    if (this.isEnded || isKnown) this.#settle();
    else if (hasMessage) waiting.timer = setTimeout(() => this.#settle(), needsWhole ? restMs : endMs);
  }

  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#waiting = undefined;
    const { bytesMax, needsWhole } = waiting.options;
    const isLong = this.bytes > bytesMax;
    const all = Buffer.concat(this.pieces, Math.min(this.bytes, bytesMax));
    if (needsWhole || this.isOneMessage) {
      const isWhole = this.isEnded && !isLong;
      waiting.resolve({ bytes: all, isWhole, isStream: !this.isEnded && !isLong });
    } else waiting.resolve({ bytes: all.subarray(0, this.#firstBytes), isWhole: false, isStream: true });
  }

  /** Of the first message: a flag, four bytes of length, the bytes. Not before these five are here. */
  get #firstBytes(): number {
    const [first] = this.#pieces;
    const isThere = first !== undefined && first.length >= prefixBytes && first !== this.#tail;
    return prefixBytes + frameLength(isThere ? first : Buffer.concat(this.pieces, prefixBytes));
  }

  #append(chunk: Uint8Array): void {
    if (this.#tail === undefined || this.#tailBytes + chunk.length > this.#tail.length) {
      this.#closeTail();
      this.#tail = Buffer.allocUnsafeSlow(2 * pieceBytesMin);
      this.#tailBytes = 0;
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

interface WaitingStart {
  options: RequestStartOptions;
  resolve(start: RequestStart): void;
  reject(error: GrpcError): void;
  timer: ReturnType<typeof setTimeout> | undefined;
}
