import { BodyAborted, BodyTaken, BodyTooLarge } from "./errors.ts";
import { PieceList } from "./piece-list.ts";
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
  /** Several pieces follow at once; `uncork` comes before anything else happens. */
  cork?(): void;
  uncork?(): void;
}

const empty = new Uint8Array(0);
/** An unread or slowly read body holds back its socket beyond this. */
const highWaterBytes = 64 * 1024;

/** The body of a message without one. */
export const noBody: Body = {
  size: 0,
  isReady: true,
  bytes: () => empty,
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};

/** A body that came whole with its head, as most do: there is nothing to wait for, nor anybody to tell. */
export class WholeBody implements Body {
  readonly size: number;
  isReady = true;
  private readonly content: Uint8Array;

  constructor(content: Uint8Array) {
    this.size = content.length;
    this.content = content;
  }

  bytes(limit: number): Uint8Array {
    if (!this.isReady) throw new BodyTaken();
    this.isReady = false;
    if (this.size > limit) throw new BodyTooLarge(limit);
    return this.content;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    yield this.bytes(Number.POSITIVE_INFINITY);
  }
}

/** A body as it comes off a socket: kept up to a bound, or handed on, until its one reader has had it. */
export class IncomingBody implements Body {
  readonly size: number | undefined;
  isComplete = false;
  private readonly source: BodySource;
  private readonly pieces = new PieceList();
  private failure: Error | undefined = undefined;
  private sink: BodySink | undefined = undefined;
  private corked: BodySink | undefined = undefined;
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
    this.pieces.push(chunk);
    return this.pieces.bytes < highWaterBytes;
  }

  /** Source side: several pieces follow at once. */
  cork(): void {
    this.corked = this.sink;
    this.corked?.cork?.();
  }

  uncork(): void {
    // The sink that was corked, though the body may have ended or lost it since.
    this.corked?.uncork?.();
    this.corked = undefined;
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
    if ((this.size ?? this.pieces.bytes) > limit) {
      this.discard();
      throw new BodyTooLarge(limit);
    }
    if (this.isComplete) {
      this.isTaken = true;
      return this.pieces.count === 0 ? empty : this.pieces.join();
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
    let mayContinue = true;
    for (let piece = this.pieces.shift(); piece; piece = this.pieces.shift()) {
      mayContinue = sink.write(piece) && mayContinue;
    }
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
    this.pieces.clear();
    this.sink = discardingSink;
    if (!this.isComplete && !this.failure) this.source.dropped();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    const pieces = new Pieces(this);
    this.pipeTo(pieces);
    return pieces;
  }
}

const discardingSink: BodySink = { write: () => true, end: () => {}, fail: () => {} };

/** Gathers a whole body up to a limit. */
class Collector implements BodySink {
  private readonly body: IncomingBody;
  private readonly limit: number;
  private readonly resolve: (bytes: Uint8Array) => void;
  private readonly reject: (error: Error) => void;
  private readonly pieces = new PieceList();

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
    this.pieces.push(chunk);
    if (this.pieces.bytes <= this.limit) return true;
    this.pieces.clear();
    this.body.discard();
    this.reject(new BodyTooLarge(this.limit));
    return true;
  }

  end(): void {
    this.resolve(this.pieces.join());
  }

  fail(error: Error): void {
    this.reject(error);
  }
}

/** The pull side for `for await`: a bounded queue between socket and loop. */
class Pieces implements BodySink, AsyncIterator<Uint8Array> {
  private readonly body: IncomingBody;
  private readonly queue = new PieceList();
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
    this.isPaused = this.queue.bytes >= highWaterBytes;
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
      if (this.isPaused && this.queue.bytes < highWaterBytes / 2) {
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
    this.queue.clear();
    if (!this.isEnded && !this.failure) {
      this.end();
      this.body.discard();
    }
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** Whether `body` is already here in full and unread, so that it can be sent without streaming. */
export function readyBytes(body: Body): Uint8Array | undefined {
  return body.isReady ? (body.bytes(Number.POSITIVE_INFINITY) as Uint8Array) : undefined;
}

/** The error for bodies cut off by `cause`. */
export function aborted(cause: Error | undefined): BodyAborted {
  return cause instanceof BodyAborted ? cause : new BodyAborted(undefined, { cause });
}
