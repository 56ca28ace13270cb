import { BodyAborted, BodyTaken, BodyTooLarge } from "./errors.ts";
import type { Body } from "./types.ts";

/** The connection a body arrives on. */
export interface BodySource {
  /** A reader wants the bytes: the moment for `100 Continue`. */
  wanted(): void;
  /** More may be read from the socket. */
  readMore(): void;
  /** Nobody wants the rest. */
  dropped(): void;
}

/** Takes a body piece by piece as it arrives, without a promise per piece. */
export interface BodySink {
  /** Answers false when the source should pause until `IncomingBody.resume()`. */
  write(chunk: Uint8Array): boolean;
  end(): void;
  fail(error: Error): void;
}

const empty = new Uint8Array(0);
/** An unread or slowly read body holds back its socket beyond this. */
const highWaterBytes = 64 * 1024;

/** The body of a message without one. */
export const noBody: Body = {
  size: 0,
  bytes: () => empty,
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};

/** A body as it comes off a socket: kept up to a bound, or handed on, until its one reader has had it. */
export class IncomingBody implements Body {
  readonly size: number | undefined;
  isComplete = false;
  private readonly source: BodySource;
  private chunks: Uint8Array[] = [];
  private buffered = 0;
  private failure: Error | undefined = undefined;
  private sink: BodySink | undefined = undefined;
  private isTaken = false;
  private isDropped = false;

  constructor(size: number | undefined, source: BodySource) {
    this.size = size;
    this.source = source;
  }

  /** Whether all of it is here and nobody has read it: then `bytes()` is synchronous. */
  get isReady(): boolean {
    return this.isComplete && !this.isTaken;
  }

  /** Source side: a piece has arrived. Answers false to hold the socket back. */
  push(chunk: Uint8Array): boolean {
    if (this.sink) return this.sink.write(chunk);
    this.chunks.push(chunk);
    this.buffered += chunk.length;
    return this.buffered < highWaterBytes;
  }

  /** Source side: the last piece has arrived. */
  finish(): void {
    this.isComplete = true;
    const { sink } = this;
    this.sink = undefined;
    sink?.end();
  }

  /** Source side: the rest will not come. */
  fail(error: Error): void {
    if (this.isComplete || this.failure) return;
    this.failure = error;
    const { sink } = this;
    this.sink = undefined;
    sink?.fail(error);
  }

  bytes(limit: number): Uint8Array | Promise<Uint8Array> {
    if (this.isTaken) throw new BodyTaken();
    if ((this.size ?? this.buffered) > limit) {
      this.discard();
      throw new BodyTooLarge(limit);
    }
    if (this.isComplete) {
      this.isTaken = true;
      return this.takeAll();
    }
    return new Promise((resolve, reject) => {
      this.pipeTo(new Collector(this, limit, resolve, reject));
    });
  }

  /** Streams to `sink`; what has arrived is handed over at once. */
  pipeTo(sink: BodySink): void {
    if (this.isTaken) throw new BodyTaken();
    this.isTaken = true;
    if (!this.isComplete && !this.failure) this.source.wanted();
    const { chunks } = this;
    this.chunks = [];
    this.buffered = 0;
    let mayContinue = true;
    for (const chunk of chunks) mayContinue = sink.write(chunk) && mayContinue;
    if (this.isComplete) sink.end();
    else if (this.failure) sink.fail(this.failure);
    else if (!this.isDropped) {
      this.sink = sink;
      if (mayContinue) this.source.readMore();
    }
  }

  /** Sink side: ready again after `write` answered false. */
  resume(): void {
    if (!this.isComplete && !this.failure) this.source.readMore();
  }

  /** Reader side: the rest is not wanted. */
  discard(): void {
    if (this.isDropped) return;
    this.isDropped = true;
    this.isTaken = true;
    this.chunks = [];
    this.buffered = 0;
    this.sink = discardingSink;
    if (!this.isComplete && !this.failure) this.source.dropped();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    const pieces = new Pieces(this);
    this.pipeTo(pieces);
    return pieces;
  }

  private takeAll(): Uint8Array {
    const { chunks } = this;
    this.chunks = [];
    if (chunks.length === 0) return empty;
    return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
  }
}

const discardingSink: BodySink = { write: () => true, end: () => {}, fail: () => {} };

/** Gathers a whole body up to a limit. */
class Collector implements BodySink {
  private readonly body: IncomingBody;
  private readonly limit: number;
  private readonly resolve: (bytes: Uint8Array) => void;
  private readonly reject: (error: Error) => void;
  private readonly chunks: Uint8Array[] = [];
  private total = 0;

  constructor(
    body: IncomingBody,
    limit: number,
    resolve: (bytes: Uint8Array) => void,
    reject: (error: Error) => void,
  ) {
    this.body = body;
    this.limit = limit;
    this.resolve = resolve;
    this.reject = reject;
  }

  write(chunk: Uint8Array): boolean {
    this.total += chunk.length;
    if (this.total > this.limit) {
      this.chunks.length = 0;
      this.body.discard();
      this.reject(new BodyTooLarge(this.limit));
      return true;
    }
    this.chunks.push(chunk);
    return true;
  }

  end(): void {
    this.resolve(this.chunks.length === 1 ? (this.chunks[0] as Uint8Array) : Buffer.concat(this.chunks));
  }

  fail(error: Error): void {
    this.reject(error);
  }
}

/** The pull side for `for await`: a bounded queue between socket and loop. */
class Pieces implements BodySink, AsyncIterator<Uint8Array> {
  private readonly body: IncomingBody;
  private readonly queue: Uint8Array[] = [];
  private queued = 0;
  private isPaused = false;
  private isEnded = false;
  private failure: Error | undefined = undefined;
  private waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | undefined = undefined;

  constructor(body: IncomingBody) {
    this.body = body;
  }

  write(chunk: Uint8Array): boolean {
    const { waiting } = this;
    if (waiting) {
      this.waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return true;
    }
    this.queue.push(chunk);
    this.queued += chunk.length;
    this.isPaused = this.queued >= highWaterBytes;
    return !this.isPaused;
  }

  end(): void {
    this.isEnded = true;
    this.waiting?.resolve({ done: true, value: undefined });
    this.waiting = undefined;
  }

  fail(error: Error): void {
    this.failure = error;
    this.waiting?.reject(error);
    this.waiting = undefined;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.queue.shift();
    if (chunk) {
      this.queued -= chunk.length;
      if (this.isPaused && this.queued < highWaterBytes / 2) {
        this.isPaused = false;
        this.body.resume();
      }
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.failure) return Promise.reject(this.failure);
    if (this.isEnded) return Promise.resolve({ done: true, value: undefined });
    this.waiting ??= Promise.withResolvers();
    return this.waiting.promise;
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.queue.length = 0;
    this.queued = 0;
    if (!this.isEnded && !this.failure) {
      this.end();
      this.body.discard();
    }
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** Whether `body` is already here in full and unread, so that it can be sent without streaming. */
export function readyBytes(body: Body): Uint8Array | undefined {
  if (body === noBody) return empty;
  if (!(body instanceof IncomingBody) || !body.isReady) return undefined;
  return body.bytes(Number.POSITIVE_INFINITY) as Uint8Array;
}

/** The error for bodies cut off by `cause`. */
export function aborted(cause: Error | undefined): BodyAborted {
  return cause instanceof BodyAborted ? cause : new BodyAborted(undefined, { cause });
}
