import { type BodySource, IncomingBody } from "./body.ts";
import { ChunkedDecoder } from "./chunked.ts";
import { CHUNKED, UNTIL_CLOSE } from "./controls.ts";
import type { HeadLimits } from "./head.ts";

/** Takes the framing off one incoming body and hands the pieces to its `IncomingBody`. */
export class BodyReceiver {
  readonly body: IncomingBody;
  isComplete = false;
  /** The reader wants no more for now: the socket is to be held back. */
  isFull = false;
  /** Nobody reads; what comes is counted and thrown away. */
  isUnwanted = false;
  private left: number;
  private readonly decoder: ChunkedDecoder | undefined;
  private drainLeft = 0;

  constructor(length: number, limits: HeadLimits, source: BodySource) {
    this.left = length;
    this.decoder = length === CHUNKED ? new ChunkedDecoder(limits) : undefined;
    this.body = new IncomingBody(length < 0 ? undefined : length, source);
  }

  /** More was thrown away than agreed. */
  get isOverdrained(): boolean {
    return this.isUnwanted && this.drainLeft < 0;
  }

  /** Whether the rest is known to be more than `bytes`. */
  isLongerThan(bytes: number): boolean {
    return this.left > bytes;
  }

  /** Reads from `chunk[at..]`; answers where the body ended, or the chunk's length. */
  feed(chunk: Buffer, at: number): number {
    if (this.decoder) return this.decode(this.decoder, chunk, at);
    if (this.left === UNTIL_CLOSE) {
      this.push(at === 0 ? chunk : chunk.subarray(at));
      return chunk.length;
    }
    const end = Math.min(chunk.length, at + this.left);
    this.left -= end - at;
    if (end > at) this.push(chunk.subarray(at, end));
    if (this.left === 0) this.complete();
    return end;
  }

  /** A socket's chunk may hold many of the coding's, and their end: they go on together. */
  private decode(decoder: ChunkedDecoder, chunk: Buffer, at: number): number {
    const { body } = this;
    body.cork();
    try {
      const end = decoder.feed(chunk, at, this.push);
      if (decoder.isDone) this.complete();
      return end;
    } finally {
      body.uncork();
    }
  }

  private complete(): void {
    this.isComplete = true;
    this.isFull = false;
    this.body.finish();
  }

  /** The peer has ended the connection: that completes a body without other framing. */
  end(): void {
    if (this.left !== UNTIL_CLOSE) return;
    this.complete();
  }

  /** Nobody wants the rest; at most `bytes` of it will be read. */
  drain(bytes: number): void {
    this.isUnwanted = true;
    this.isFull = false;
    this.drainLeft = bytes;
  }

  private readonly push = (piece: Buffer): void => {
    if (this.isUnwanted) {
      this.drainLeft -= piece.length;
      if (this.drainLeft < 0) this.isFull = true;
    } else if (!this.body.push(piece)) this.isFull = true;
  };
}
