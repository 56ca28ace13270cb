import { errorCode } from "./frames.ts";
import type { HeaderObject } from "./header-encoder.ts";

/** Who gets what arrives on a stream. */
export interface StreamReceiver {
  /** Of a client: the head of the answer. `isEnd`: there is nothing else. */
  onHead?(lines: string[], isEnd: boolean): void;
  onTrailers?(lines: string[]): void;
  onData(chunk: Uint8Array): void;
  /** What the peer sends is complete. */
  onEnd(): void;
  /** There is room again after `write` answered false. */
  onDrain(): void;
  /** The peer reset the stream, or the connection is gone: nothing can be sent any more. Before `onClose`. */
  onAbort(): void;
  /** The stream is over, in whichever way. Called once. */
  onClose(): void;
}

/** The connection as its streams see it. */
export interface StreamOwner {
  readonly remoteAddress: string | undefined;
  /** Of a server's connection. */
  readonly socket?: object;
  sendHeaders(stream: Http2Stream, headers: HeaderObject, isEnd: boolean): void;
  /** Sends what the stream has, as far as the windows let it. */
  pump(stream: Http2Stream): void;
  /** The receiver has taken this much. */
  consumed(stream: Http2Stream, bytes: number): void;
  reset(stream: Http2Stream, code: number): void;
  /** Both sides have ended. */
  finished(stream: Http2Stream): void;
}

/** How long a request may go on after its answer. */
const stopMs = 100;

/** Unsent bytes of one stream beyond which `write` asks to wait. */
const highWaterBytes = 64 * 1024;

/** One request and its answer, on either side. */
export class Http2Stream {
  readonly id: number;
  readonly owner: StreamOwner;
  receiver: StreamReceiver = nobody;
  /** Sent behind the last byte of the answer. */
  trailers: HeaderObject | undefined;
  /** The request did not end with its headers. */
  readonly hasBody: boolean;
  headersSent = false;
  /** The request has been received whole. */
  isRemoteEnded = false;
  /** The answer has been handed to the connection whole. */
  isLocalEnded = false;
  /** Over, by its end or a reset. */
  isClosed = false;
  /** The peer reset it, or the connection went away. */
  isAborted = false;
  /** The connection went away. */
  isLost = false;
  /** Of the reset that ended it; 0: there was none. */
  resetCode = 0;
  /** The head of the answer has come. */
  isAnswered = false;
  /** Frees what the stream held; called once, before `onClose`. */
  onRelease: (() => void) | undefined;
  /** The head of the answer is here; called before its receiver hears of it. */
  onAnswer: (() => void) | undefined;

  // ---- for the connection
  sendWindow: number;
  receiveWindow: number;
  ungrantedBytes = 0;
  pending: Uint8Array[] = [];
  pendingBytes = 0;
  isEnding = false;
  awaitsDrain = false;
  /** What the request's content-length leaves to come. */
  bodyBytesLeft: number | undefined;
  #buffered: Uint8Array[] = [];
  #isPaused = false;
  #isEndDelivered = false;
  readonly #isClient: boolean;

  constructor(
    id: number,
    owner: StreamOwner,
    start: { hasBody: boolean; sendWindow: number; receiveWindow: number; isClient?: boolean },
  ) {
    this.#isClient = start.isClient ?? false;
    this.id = id;
    this.owner = owner;
    this.hasBody = start.hasBody;
    this.sendWindow = start.sendWindow;
    this.receiveWindow = start.receiveWindow;
  }

  /** Whether anything can still be sent. */
  get isWritable(): boolean {
    return !this.isClosed && !this.isEnding;
  }

  /** Sends the header block. Throws for headers that HTTP/2 can not carry. */
  sendHead(headers: HeaderObject, isEnd = false): void {
    if (!this.isWritable) return;
    this.owner.sendHeaders(this, headers, isEnd);
    this.headersSent = true;
    if (isEnd) this.localEnd();
  }

  /** An interim answer, such as 100. */
  inform(status: number): void {
    if (this.isWritable) this.owner.sendHeaders(this, { ":status": status }, false);
  }

  /** False when the next piece should wait for `onDrain`. */
  write(chunk: Uint8Array): boolean {
    if (!this.isWritable) return true;
    if (chunk.length > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
      this.owner.pump(this);
    }
    this.awaitsDrain = this.pendingBytes >= highWaterBytes;
    return !this.awaitsDrain;
  }

  /** Copies what could not be sent yet of the last piece: the caller uses its buffer again. */
  keepPending(): void {
    const last = this.pending.pop();
    if (last !== undefined) this.pending.push(Buffer.from(last));
  }

  /** Ends the answer, with `trailers` where there are some. */
  end(chunk?: Uint8Array): void {
    if (!this.isWritable) return;
    if (chunk !== undefined && chunk.length > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
    }
    this.isEnding = true;
    this.owner.pump(this);
  }

  /** RST_STREAM: nothing more comes, and nothing more is taken. */
  reset(code: number = errorCode.cancel): void {
    if (!this.isClosed) this.owner.reset(this, code);
  }

  /** Tells a client that still sends to stop, a while after the answer: RST_STREAM(NO_ERROR). */
  stopUpload(): void {
    this.receiver = new Unread(this.receiver);
    this.resume();
    if (this.isLocalEnded) this.#stopLater();
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** What was held back comes later, never within this call: a reader may be in the middle of its own step. */
  resume(): void {
    this.#isPaused = false;
    if (this.#buffered.length > 0 || this.isRemoteEnded) queueMicrotask(() => this.#flow());
  }

  #flow(): void {
    while (!this.#isPaused && this.#buffered.length > 0) this.#deliver(this.#buffered.shift() as Uint8Array);
    this.#deliverEnd();
  }

  // ---- from the connection

  receive(chunk: Uint8Array): void {
    if (this.#isPaused || this.#buffered.length > 0) this.#buffered.push(chunk);
    else this.#deliver(chunk);
  }

  remoteEnd(): void {
    this.isRemoteEnded = true;
    this.#deliverEnd();
    if (this.isLocalEnded && this.#isReadOut && !this.isClosed) this.owner.finished(this);
  }

  /** A client reads its answer to the end, a server need not read the rest of a request that it has answered. */
  get #isReadOut(): boolean {
    return !this.#isClient || this.#isEndDelivered;
  }

  localEnd(): void {
    this.isLocalEnded = true;
    this.isEnding = true;
    if (this.isRemoteEnded && this.#isReadOut) this.owner.finished(this);
    else if (this.receiver instanceof Unread) this.#stopLater();
  }

  /** It is over; `isAbort`: not as both sides wanted. */
  close(isAbort: boolean): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.pending = [];
    this.pendingBytes = 0;
    this.#buffered = [];
    if (isAbort) {
      this.isAborted = true;
      this.receiver.onAbort();
    }
    this.onRelease?.();
    this.receiver.onClose();
  }

  #deliver(chunk: Uint8Array): void {
    try {
      this.receiver.onData(chunk);
    } catch {
      // A receiver that fails is no reason to end the other streams of the connection.
      this.reset(errorCode.internalError);
    }
    this.owner.consumed(this, chunk.length);
  }

  #deliverEnd(): void {
    if (!this.isRemoteEnded || this.#isEndDelivered || this.isClosed) return;
    if (this.#isPaused || this.#buffered.length > 0) return;
    this.#isEndDelivered = true;
    try {
      this.receiver.onEnd();
    } catch {
      this.reset(errorCode.internalError);
    }
    if (this.#isClient && this.isLocalEnded && !this.isClosed) this.owner.finished(this);
  }

  /** A request whose end is on its way is let through: some clients take the reset for a failure. */
  #stopLater(): void {
    if (!this.isRemoteEnded) setTimeout(stop, stopMs, this).unref();
  }
}

function stop(stream: Http2Stream): void {
  if (!stream.isRemoteEnded) stream.reset(errorCode.noError);
}

/** What still comes is dropped; how it ends is still of interest. */
class Unread implements StreamReceiver {
  readonly #receiver: StreamReceiver;
  constructor(receiver: StreamReceiver) {
    this.#receiver = receiver;
  }
  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}
  onAbort(): void {
    this.#receiver.onAbort();
  }
  onClose(): void {
    this.#receiver.onClose();
  }
}

function nothing(): void {}

/** Until somebody listens. */
export const nobody: StreamReceiver = {
  onData: nothing,
  onEnd: nothing,
  onDrain: nothing,
  onAbort: nothing,
  onClose: nothing,
};
