import type {
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from "node:http2";
import { acceptedEncodings, compressionMinBytes, deflate } from "./compression.ts";
import { statusDetailsBytesMax, statusMessageCharsMax, timerMaxMs } from "./limits.ts";
import { endWithMessage, writeMessage } from "./message-writer.ts";
import { addMetadata, encodeBinaryMetadata, type HeaderObject, readMetadata } from "./metadata.ts";
import { encodeGrpcMessage, grpcCode } from "./status.ts";
import { encodeRpcStatus } from "./status-details.ts";
import { stopUpload } from "./stop-upload.ts";
import { breakStream } from "./stream-reset.ts";
import { type GrpcContext, GrpcError, type Metadata } from "./types.ts";

/** What is known of a connection; kept by the server, one per session. */
export interface PeerConnection {
  session: ServerHttp2Session;
  peer: string;
  /** Open streams: calls and other requests. */
  openStreams: number;
  calls: Set<ServerCall>;
}

export const plainHeaders: OutgoingHttpHeaders = { ":status": 200, "content-type": "application/grpc" };
export const respondOptions = { waitForTrailers: true, sendDate: false };
const endOptions = { endStream: true, sendDate: false };
const okTrailers: OutgoingHttpHeaders = { "grpc-status": "0" };
const done = Promise.resolve();

/** One call on the server's side: its state, its reply and its end. The kinds of method drive it. */
export class ServerCall implements GrpcContext {
  readonly path: string;
  readonly stream: ServerHttp2Stream;
  readonly connection: PeerConnection;
  readonly metadata: Metadata;
  readonly deadlineMs: number | undefined;
  readonly headers: IncomingHttpHeaders;
  /** grpc-encoding of the request; `undefined` for identity. */
  readonly requestEncoding: string | undefined;
  /** Runs when the call is over for another reason than its handler: cancel, deadline, lost connection. */
  onAbort: ((reason: GrpcError) => void) | undefined;
  isEnded = false;
  #replyHeaders: Metadata | undefined;
  #replyTrailers: Metadata | undefined;
  #trailers: OutgoingHttpHeaders = okTrailers;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #controller: AbortController | undefined;
  #abortReason: GrpcError | undefined;
  #drain: PromiseWithResolvers<void> | undefined;
  /** Messages are compressed aside; this keeps them in order. */
  #lastSend: Promise<void> | undefined;

  constructor(
    connection: PeerConnection,
    stream: ServerHttp2Stream,
    request: { headers: IncomingHttpHeaders; rawHeaders: readonly string[]; timeoutMs: number | undefined },
  ) {
    this.connection = connection;
    this.stream = stream;
    this.headers = request.headers;
    this.path = request.headers[":path"] ?? "";
    this.metadata = readMetadata(request.rawHeaders);
    const encoding = request.headers["grpc-encoding"] as string | undefined;
    this.requestEncoding = encoding === "identity" ? undefined : encoding;
    const { timeoutMs } = request;
    if (timeoutMs === undefined) this.deadlineMs = undefined;
    else {
      this.deadlineMs = Date.now() + timeoutMs;
      if (timeoutMs <= timerMaxMs) this.#timer = setTimeout(expire, timeoutMs, this);
    }
  }

  get peer(): string {
    return this.connection.peer;
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
    this.#trailers = this.#okTrailers();
    if (this.#respond()) endWithMessage(this.stream, message, isCompressed);
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
    const accepted = this.headers["grpc-accept-encoding"] as string | undefined;
    return accepted === undefined || accepted.includes("gzip");
  }

  #write(message: Uint8Array, isCompressed: boolean): Promise<void> {
    if (this.isEnded)
      return rejected(this.#abortReason ?? new GrpcError(grpcCode.INTERNAL, "the call has ended"));
    if (!this.stream.headersSent && !this.#respond()) return done;
    if (writeMessage(this.stream, message, isCompressed)) return done;
    if (this.#drain === undefined) {
      const drain = Promise.withResolvers<void>();
      drain.promise.catch(ignore);
      this.#drain = drain;
      this.stream.once("drain", () => {
        this.#drain = undefined;
        drain.resolve();
      });
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
    if (!this.isEnded) this.#sendHeaders(headers, respondOptions);
  }

  /** Ends with the trailers of another server, or with its trailers-only answer. */
  forwardEnd(trailers: HeaderObject): void {
    if (this.isEnded) return;
    this.#startEnding();
    if (this.stream.destroyed || this.stream.closed) return;
    if (this.stream.headersSent) {
      this.#trailers = trailers;
      this.stream.end();
    } else this.#sendHeaders(trailers, endOptions);
    stopUpload(this.stream);
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

  /** The client reset the stream or its connection is gone: nothing can be sent any more. */
  lose(): void {
    if (this.isEnded) return;
    this.#startEnding();
    this.#tellHandler(new GrpcError(grpcCode.CANCELLED, "context canceled"));
  }

  sendTrailers(): void {
    const { stream } = this;
    // After close(code) Bun still asks for trailers; answering would turn the reset into a success.
    if (stream.aborted || stream.closed || stream.destroyed) return;
    try {
      stream.sendTrailers(this.#trailers);
    } catch {
      breakStream(stream);
    }
  }

  #tellHandler(reason: GrpcError): void {
    this.#abortReason = reason;
    this.#drain?.reject(reason);
    this.onAbort?.(reason);
    this.#controller?.abort(reason);
  }

  #startEnding(): void {
    this.isEnded = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }

  #okTrailers(): OutgoingHttpHeaders {
    if (this.#replyTrailers === undefined || this.#replyTrailers.length === 0) return okTrailers;
    return addMetadata({ "grpc-status": "0" }, this.#replyTrailers);
  }

  /** Sends the header block; false when there is nobody to send it to. */
  #respond(): boolean {
    const hasHeaders = this.#replyHeaders !== undefined && this.#replyHeaders.length > 0;
    if (!hasHeaders && this.requestEncoding === undefined)
      return this.#sendHeaders(plainHeaders, respondOptions);
    const headers = { ...plainHeaders } as HeaderObject;
    if (this.requestEncoding === "gzip") headers["grpc-encoding"] = "gzip";
    return this.#sendHeaders(addMetadata(headers, this.#replyHeaders ?? []), respondOptions);
  }

  /** A header block HTTP/2 refuses breaks the stream: the client must not wait for an answer that cannot come. */
  #sendHeaders(
    headers: OutgoingHttpHeaders,
    options: { waitForTrailers?: boolean; endStream?: boolean },
  ): boolean {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return false;
    try {
      stream.respond(headers, options);
      return true;
    } catch {
      breakStream(stream);
      return false;
    }
  }

  #endWith(trailers: OutgoingHttpHeaders): void {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    const hasHeaders = this.#replyHeaders !== undefined && this.#replyHeaders.length > 0;
    if (!stream.headersSent && hasHeaders) this.#respond();
    if (stream.headersSent) {
      this.#trailers = trailers;
      stream.end();
    } else this.#sendHeaders({ ...plainHeaders, ...trailers }, endOptions);
    stopUpload(stream);
  }
}

/** Ends a stream that never became a call. */
export function refuse(stream: ServerHttp2Stream, error: GrpcError): void {
  stream.respond({ ...plainHeaders, ...statusTrailers(error) }, endOptions);
  stopUpload(stream);
}

export function statusTrailers(error: GrpcError, replyTrailers?: Metadata): OutgoingHttpHeaders {
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
