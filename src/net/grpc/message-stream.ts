import { inflateFrame } from "./compression.ts";
import { FrameReader } from "./frame.ts";
import { grpcCode } from "./status.ts";
import { GrpcError } from "./types.ts";

/** Beyond this many unread bytes the stream is paused and HTTP/2 flow control holds the peer. */
const pauseBytes = 64 * 1024;

interface Waiter {
  resolve: (result: IteratorResult<Uint8Array>) => void;
  reject: (error: unknown) => void;
}

interface MessageSource {
  pause(): unknown;
  resume(): unknown;
}

/** The messages of an HTTP/2 stream, cut and inflated when the reader asks for them. For one reader. */
export class MessageStream implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #maxMessageBytes: number;
  readonly #reader: FrameReader;
  readonly #onLeave: (() => void) | undefined;
  #source: MessageSource | undefined;
  #encoding: string | undefined;
  #waiter: Waiter | undefined;
  #failure: { error: unknown } | undefined;
  #isPaused = false;
  #isEnded = false;
  #endError: GrpcError | undefined;

  /** `onLeave` runs when the reader leaves before the end. */
  constructor(maxMessageBytes: number, onLeave?: () => void) {
    this.#maxMessageBytes = maxMessageBytes;
    this.#reader = new FrameReader(maxMessageBytes);
    this.#onLeave = onLeave;
  }

  /** What is held back while nobody reads. */
  attach(source: MessageSource): void {
    this.#source = source;
  }

  /** grpc-encoding of the peer's messages. */
  set encoding(encoding: string | undefined) {
    this.#encoding = encoding;
  }

  /** No more bytes will come. The reader gets what has arrived, then the end or the error. */
  end(error?: GrpcError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#endError = error;
    this.#serve();
  }

  /** What was received is dropped; the reader's next step throws. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#serve();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#waiter !== undefined) {
      return Promise.reject(
        new GrpcError(grpcCode.INTERNAL, "messages are read by one reader, one at a time"),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#serve();
    });
  }

  /** The reader left its loop: the rest is let through unread so that the call can end. */
  async return(): Promise<IteratorResult<Uint8Array>> {
    const isOver = this.#isEnded;
    this.#failure ??= { error: new GrpcError(grpcCode.CANCELLED, "the reader has left") };
    if (this.#isPaused) this.#resume();
    if (!isOver) this.#onLeave?.();
    return { done: true, value: undefined };
  }

  /** Bytes of the stream, in order. */
  receive(chunk: Uint8Array): void {
    if (this.#failure !== undefined) return;
    this.#reader.push(chunk);
    if (this.#waiter !== undefined) this.#serve();
    if (this.#waiter === undefined && this.#reader.rest >= pauseBytes) {
      this.#isPaused = true;
      this.#source?.pause();
    }
  }

  #serve(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    if (this.#failure !== undefined) {
      this.#waiter = undefined;
      waiter.reject(this.#failure.error);
      return;
    }
    try {
      this.#serveMessage(waiter);
    } catch (error) {
      this.#failure = { error };
      this.#waiter = undefined;
      waiter.reject(error);
    }
  }

  #serveMessage(waiter: Waiter): void {
    const frame = this.#reader.next();
    if (this.#isPaused && this.#reader.rest < pauseBytes / 2) this.#resume();
    if (frame !== undefined) {
      this.#waiter = undefined;
      const message = inflateFrame(frame, this.#encoding, this.#maxMessageBytes);
      if (message instanceof Uint8Array) waiter.resolve({ done: false, value: message });
      else message.then((value) => waiter.resolve({ done: false, value }), waiter.reject);
    } else if (this.#isEnded) {
      if (this.#endError !== undefined) throw this.#endError;
      if (this.#reader.rest > 0)
        throw new GrpcError(grpcCode.INTERNAL, "grpc: a message was cut short: unexpected EOF");
      this.#waiter = undefined;
      waiter.resolve({ done: true, value: undefined });
    } else if (this.#isPaused) this.#resume();
  }

  #resume(): void {
    this.#isPaused = false;
    this.#source?.resume();
  }
}
