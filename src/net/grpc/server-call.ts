import { errorCode } from "../http2/frames.ts";
import type { HeaderObject } from "../http2/header-encoder.ts";
import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";
import type { RequestHead } from "../http2/request-head.ts";
import { acceptedEncodings, compressionMinBytes, deflate } from "./compression.ts";
import { statusDetailsBytesMax, statusMessageCharsMax, timerMaxMs } from "./limits.ts";
import { endWithMessage, writeMessage } from "./message-writer.ts";
import { addMetadata, encodeBinaryMetadata, readMetadata } from "./metadata.ts";
import { encodeGrpcMessage, grpcCode } from "./status.ts";
import { encodeRpcStatus } from "./status-details.ts";
import {
  type GrpcContext,
  GrpcError,
  type Metadata,
  type RequestStart,
  type RequestStartOptions,
} from "./types.ts";

/** Who reads the request: the kind of method. */
export interface CallReader {
  onData(chunk: Uint8Array): void;
  onEnd(): void;
  /** There is room in the answer again. */
  onDrain?(): void;
  start?(options: RequestStartOptions): Promise<RequestStart>;
}

const plainHeaders: HeaderObject = { ":status": 200, "content-type": "application/grpc" };
const okTrailers: HeaderObject = { "grpc-status": "0" };
const done = Promise.resolve();

/** One call on the server's side: its state, its reply and its end. The kinds of method drive it. */
export class ServerCall implements GrpcContext, StreamReceiver {
  readonly path: string;
  readonly stream: Http2Stream;
  readonly peer: string;
  readonly metadata: Metadata;
  readonly deadlineMs: number | undefined;
  readonly head: RequestHead;
  /** grpc-encoding of the request; `undefined` for identity. */
  readonly requestEncoding: string | undefined;
  /** Runs when the call is over for another reason than its handler: cancel, deadline, lost connection. */
  onCancel: ((reason: GrpcError) => void) | undefined;
  isEnded = false;
  /** Set before the first byte of the request is handed on. */
  reader: CallReader | undefined;
  #replyHeaders: Metadata | undefined;
  #replyTrailers: Metadata | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #controller: AbortController | undefined;
  #abortReason: GrpcError | undefined;
  #drain: PromiseWithResolvers<void> | undefined;
  /** Messages are compressed aside; this keeps them in order. */
  #lastSend: Promise<void> | undefined;

  /** The server takes the call off its list. */
  onClose: () => void = ignore;

  constructor(
    stream: Http2Stream,
    head: RequestHead,
    { peer, timeoutMs }: { peer: string; timeoutMs: number | undefined },
  ) {
    this.stream = stream;
    this.head = head;
    this.peer = peer;
    this.path = head.path;
    this.metadata = readMetadata(head.lines);
    const encoding = head.header("grpc-encoding");
    this.requestEncoding = encoding === "identity" ? undefined : encoding;
    if (timeoutMs === undefined) this.deadlineMs = undefined;
    else {
      this.deadlineMs = Date.now() + timeoutMs;
      if (timeoutMs <= timerMaxMs) this.#timer = setTimeout(expire, timeoutMs, this);
    }
    stream.receiver = this;
  }

  onData(chunk: Uint8Array): void {
    this.reader?.onData(chunk);
  }

  onEnd(): void {
    this.reader?.onEnd();
  }

  onDrain(): void {
    const drain = this.#drain;
    this.#drain = undefined;
    drain?.resolve();
    this.reader?.onDrain?.();
  }

  /** The client reset the stream or its connection is gone: nothing can be sent any more. */
  onAbort(): void {
    if (this.isEnded) return;
    this.#startEnding();
    this.#tellHandler(new GrpcError(grpcCode.CANCELLED, "context canceled"));
  }

  get replyHeaders(): Metadata {
    this.#replyHeaders ??= [];
    return this.#replyHeaders;
  }

  get replyTrailers(): Metadata {
    this.#replyTrailers ??= [];
    return this.#replyTrailers;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  get authority(): string | undefined {
    return this.head.authority;
  }

  get contentType(): string | undefined {
    return this.head.header("content-type");
  }

  requestStart(options: RequestStartOptions): Promise<RequestStart> {
    const error = () => new GrpcError(grpcCode.INTERNAL, "the request is read elsewhere");
    return this.reader?.start?.(options) ?? Promise.reject(error());
  }

  get(lowerName: string): string | undefined {
    for (const entry of this.metadata) if (entry[0] === lowerName) return entry[1];
    return undefined;
  }

  /** Answers a unary call: headers, one message, OK. */
  reply(message: Uint8Array): void {
    if (!this.#canCompress(message)) this.#replyPlain(message, false);
    else {
      deflate(message).then(
        (bytes) => this.#replyPlain(bytes, true),
        (error) => this.fail(error),
      );
    }
  }

  #replyPlain(message: Uint8Array, isCompressed: boolean): void {
    if (this.isEnded) return;
    this.#startEnding();
    if (!this.#respond()) return;
    this.stream.trailers = this.#okTrailers();
    try {
      endWithMessage(this.stream, message, isCompressed);
    } catch {
      this.stream.reset(errorCode.internalError);
    }
  }

  /** Sends one message of a stream; resolves when there is room for the next. */
  send(message: Uint8Array): Promise<void> {
    if (this.requestEncoding === undefined) return this.#write(message, false);
    const sent = this.#sendInOrder(message, this.#lastSend);
    this.#lastSend = sent.catch(ignore);
    return sent;
  }

  async #sendInOrder(message: Uint8Array, previous: Promise<void> | undefined): Promise<void> {
    const isCompressed = this.#canCompress(message);
    const bytes = isCompressed ? await deflate(message) : message;
    await previous;
    await this.#write(bytes, isCompressed);
  }

  #canCompress(message: Uint8Array): boolean {
    if (this.requestEncoding !== "gzip" || message.length <= compressionMinBytes) return false;
    const accepted = this.head.header("grpc-accept-encoding");
    return accepted === undefined || accepted.includes("gzip");
  }

  #write(message: Uint8Array, isCompressed: boolean): Promise<void> {
    if (this.isEnded)
      return rejected(this.#abortReason ?? new GrpcError(grpcCode.INTERNAL, "the call has ended"));
    if (!this.stream.headersSent && !this.#respond()) return done;
    if (writeMessage(this.stream, message, isCompressed)) return done;
    if (this.#drain === undefined) {
      this.#drain = Promise.withResolvers<void>();
      this.#drain.promise.catch(ignore);
    }
    return this.#drain.promise;
  }

  /** Ends a streaming call with OK. */
  complete(): void {
    if (this.#lastSend !== undefined) this.#lastSend.then(() => this.#end());
    else this.#end();
  }

  #end(): void {
    if (this.isEnded) return;
    this.#startEnding();
    this.#endWith(this.#okTrailers());
  }

  /** Sends header lines of another server, as they are. */
  forwardHeaders(headers: HeaderObject): void {
    if (!this.isEnded) this.#sendHeaders(headers, false);
  }

  /** Ends with the trailers of another server, or with its trailers-only answer. */
  forwardEnd(trailers: HeaderObject): void {
    if (this.isEnded) return;
    this.#startEnding();
    if (this.stream.headersSent) this.#sendTrailers(trailers);
    else this.#sendHeaders(trailers, true);
    this.stream.stopUpload();
  }

  /** Ends the call with the status of the error; anything that is no GrpcError is UNKNOWN. */
  fail(error: unknown): void {
    if (this.isEnded) return;
    this.#startEnding();
    this.#endWith(statusTrailers(asGrpcError(error), this.#replyTrailers));
  }

  /** Ends the call and tells its handler: deadline passed, or the server gives up. */
  abort(reason: GrpcError): void {
    if (this.isEnded) return;
    this.fail(reason);
    this.#tellHandler(reason);
  }

  #tellHandler(reason: GrpcError): void {
    this.#abortReason = reason;
    this.#drain?.reject(reason);
    this.onCancel?.(reason);
    this.#controller?.abort(reason);
  }

  #startEnding(): void {
    this.isEnded = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }

  #okTrailers(): HeaderObject {
    if (this.#replyTrailers === undefined || this.#replyTrailers.length === 0) return okTrailers;
    return addMetadata({ "grpc-status": "0" }, this.#replyTrailers);
  }

  /** Sends the header block; false when there is nobody to send it to. */
  #respond(): boolean {
    const hasHeaders = this.#replyHeaders !== undefined && this.#replyHeaders.length > 0;
    if (!hasHeaders && this.requestEncoding === undefined) return this.#sendHeaders(plainHeaders, false);
    const headers: HeaderObject = { ...plainHeaders };
    if (this.requestEncoding === "gzip") headers["grpc-encoding"] = "gzip";
    return this.#sendHeaders(addMetadata(headers, this.#replyHeaders ?? []), false);
  }

  /** A header block HTTP/2 refuses breaks the stream: the client must not wait for an answer that cannot come. */
  #sendHeaders(headers: HeaderObject, isEnd: boolean): boolean {
    const { stream } = this;
    if (!stream.isWritable) return false;
    try {
      stream.sendHead(headers, isEnd);
      return true;
    } catch {
      stream.reset(errorCode.internalError);
      return false;
    }
  }

  #sendTrailers(trailers: HeaderObject): void {
    this.stream.trailers = trailers;
    try {
      this.stream.end();
    } catch {
      this.stream.reset(errorCode.internalError);
    }
  }

  #endWith(trailers: HeaderObject): void {
    const { stream } = this;
    if (!stream.isWritable) return;
    const hasHeaders = this.#replyHeaders !== undefined && this.#replyHeaders.length > 0;
    if (!stream.headersSent && hasHeaders) this.#respond();
    if (stream.headersSent) this.#sendTrailers(trailers);
    else this.#sendHeaders({ ...plainHeaders, ...trailers }, true);
    stream.stopUpload();
  }
}

/** Ends a stream that never became a call. */
export function refuse(stream: Http2Stream, error: GrpcError): void {
  stream.sendHead({ ...plainHeaders, ...statusTrailers(error) }, true);
  stream.stopUpload();
}

export function statusTrailers(error: GrpcError, replyTrailers?: Metadata): HeaderObject {
  const trailers: Record<string, string | string[]> = { "grpc-status": String(error.code) };
  if (error.message !== "") {
    trailers["grpc-message"] = encodeGrpcMessage(error.message.slice(0, statusMessageCharsMax));
  }
  if (error.details.length > 0) {
    const details = encodeRpcStatus(error);
    if (details.length <= statusDetailsBytesMax)
      trailers["grpc-status-details-bin"] = encodeBinaryMetadata(details);
  }
  if (error.code === grpcCode.UNIMPLEMENTED) trailers["grpc-accept-encoding"] = acceptedEncodings;
  if (replyTrailers !== undefined) addMetadata(trailers, replyTrailers);
  return error.metadata.length > 0 ? addMetadata(trailers, error.metadata) : trailers;
}

export function asGrpcError(error: unknown): GrpcError {
  if (error instanceof GrpcError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new GrpcError(grpcCode.UNKNOWN, message, { cause: error });
}

function expire(call: ServerCall): void {
  call.abort(new GrpcError(grpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"));
}

function rejected(reason: GrpcError): Promise<never> {
  const promise = Promise.reject(reason);
  // A handler that does not await send() learns of the end by its signal; it must not take the process down.
  promise.catch(ignore);
  return promise;
}

function ignore(): void {}
