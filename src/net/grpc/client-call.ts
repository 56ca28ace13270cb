import { errorCode } from "../http2/frames.ts";
import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";
import { lineOf } from "../http2/request-head.ts";
import type { ClientConnection } from "./client-connection.ts";
import { timerMaxMs } from "./limits.ts";
import {
  addMetadata,
  decodeBinaryMetadata,
  formatGrpcTimeout,
  type HeaderObject,
  readMetadata,
} from "./metadata.ts";
import { decodeGrpcMessage, grpcCode, grpcCodeOfHttpStatus, grpcCodeOfReset } from "./status.ts";
import { decodeRpcStatus } from "./status-details.ts";
import { type GrpcCallOptions, GrpcError } from "./types.ts";

/** Who reads the answer. */
export interface AnswerReader {
  onData(chunk: Uint8Array): void;
  /** The head has come. */
  onHead?(): void;
  /** There is room for more of the request. */
  onDrain?(): void;
}

/** One call on the client's side: its request headers, its time limits and how it ended. */
export class ClientCall implements StreamReceiver {
  readonly path: string;
  readonly options: GrpcCallOptions;
  isEnded = false;
  /** The server has begun to answer: the call may not be repeated any more. */
  isAnswered = false;
  readonly #ended: (error: GrpcError | undefined) => void;
  /** Present: runs instead of the end when the server refused the stream unseen, so that it may be repeated. */
  onRefused: (() => void) | undefined;
  #stream: Http2Stream | undefined;
  #reader: AnswerReader | undefined;
  #connection: ClientConnection | undefined;
  #status: GrpcError | "ok" | undefined;
  #httpStatus = 0;
  #encoding: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadlineMs: number | undefined;
  #onSignal: (() => void) | undefined;

  constructor(path: string, options: GrpcCallOptions, ended: (error: GrpcError | undefined) => void) {
    this.path = path;
    this.options = options;
    this.#ended = ended;
    const { timeoutMs, signal } = options;
    if (timeoutMs !== undefined) {
      this.#deadlineMs = Date.now() + timeoutMs;
      if (timeoutMs <= 0) expire(this);
      else if (timeoutMs <= timerMaxMs) this.#timer = setTimeout(expire, timeoutMs, this);
    }
    if (signal !== undefined && !this.isEnded) this.#follow(signal);
  }

  /** Opens the stream on a connection; the caller writes the request. */
  start(connection: ClientConnection, reader: AnswerReader): Http2Stream {
    this.#connection = connection;
    this.#reader = reader;
    this.#stream = undefined;
    this.#stream = connection.open(this.#headers(), this);
    return this.#stream;
  }

  // ---- from the stream

  onHead(lines: string[], isEnd: boolean): void {
    this.isAnswered = true;
    this.#httpStatus = Number(lines[1]);
    const encoding = lineOf(lines, "grpc-encoding");
    this.#encoding = encoding === "identity" ? undefined : encoding;
    const contentType = lineOf(lines, "content-type");
    if (isEnd) this.#readStatus(lines);
    else if (this.#httpStatus !== 200 || !isGrpc(contentType)) this.abort(this.#unexpected(contentType));
    else this.options.onHeaders?.(readMetadata(lines));
    this.#reader?.onHead?.();
  }

  onTrailers(lines: string[]): void {
    this.#readStatus(lines);
  }

  onData(chunk: Uint8Array): void {
    this.#reader?.onData(chunk);
  }

  onDrain(): void {
    this.#reader?.onDrain?.();
  }

  onEnd(): void {
    if (this.#status !== undefined) this.#settle();
  }

  onAbort(): void {}

  onClose(): void {
    this.#settle();
  }

  /** Ends the call from this side. */
  abort(error: GrpcError): void {
    if (this.isEnded) return;
    const stream = this.#stream;
    this.#finish(error);
    stream?.reset();
  }

  fail(error: GrpcError): void {
    if (!this.isEnded) this.#finish(error);
  }

  /** grpc-encoding of the answer; `undefined` for identity. */
  get encoding(): string | undefined {
    return this.#encoding;
  }

  #headers(): HeaderObject {
    const headers: HeaderObject = {
      ":method": "POST",
      ":path": this.path,
      te: "trailers",
      "content-type": "application/grpc",
      "user-agent": "mecha-grpc",
      "grpc-accept-encoding": "identity,gzip",
    };
    if (this.#deadlineMs !== undefined)
      headers["grpc-timeout"] = formatGrpcTimeout(this.#deadlineMs - Date.now());
    const { metadata } = this.options;
    if (metadata === undefined) return headers;
    if (metadata.some(([name]) => name === "user-agent")) delete headers["user-agent"];
    return addMetadata(headers, metadata);
  }

  #readStatus(lines: readonly string[]): void {
    const status = lineOf(lines, "grpc-status");
    if (status === undefined) return;
    const code = /^[0-9]{1,9}$/.test(status) ? Number(status) : grpcCode.UNKNOWN;
    if (code === grpcCode.OK) {
      this.#status = "ok";
      this.options.onTrailers?.(readMetadata(lines));
    } else this.#status = readError(code, lines);
  }

  #unexpected(contentType: string | undefined): GrpcError {
    const code = this.#httpStatus === 200 ? grpcCode.UNKNOWN : grpcCodeOfHttpStatus(this.#httpStatus);
    const text = `unexpected HTTP status code received from server: ${this.#httpStatus}; content-type "${contentType ?? ""}"`;
    return new GrpcError(code, text);
  }

  #settle(): void {
    if (this.isEnded) return;
    // By RST_STREAM(REFUSED_STREAM), or by a GOAWAY whose last stream is an earlier one.
    const isRefused = !this.isAnswered && this.#stream?.resetCode === errorCode.refusedStream;
    if (isRefused && this.onRefused !== undefined) {
      this.onRefused();
      return;
    }
    if (this.#status === "ok") this.#finish(undefined);
    else this.#finish(this.#status ?? this.#failure());
  }

  /** Why the stream ended without a status. Bun gives no error when the connection dies, only `close`. */
  #failure(): GrpcError {
    const connection = this.#connection;
    if (connection === undefined || this.#stream === undefined || this.#stream.isLost) {
      return new GrpcError(grpcCode.UNAVAILABLE, connection?.lossReason ?? "no connection");
    }
    const code = this.#stream.resetCode;
    if (code !== 0)
      return new GrpcError(grpcCodeOfReset(code), `stream terminated by RST_STREAM with error code: ${code}`);
    if (this.#httpStatus !== 0 && this.#httpStatus !== 200) return this.#unexpected(undefined);
    return new GrpcError(grpcCode.INTERNAL, "server closed the stream without sending trailers");
  }

  #finish(error: GrpcError | undefined): void {
    this.isEnded = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#onSignal !== undefined) this.options.signal?.removeEventListener("abort", this.#onSignal);
    const stream = this.#stream;
    // The server has answered before it read everything: it need not wait for the rest.
    if (stream !== undefined && !stream.isEnding) stream.reset();
    this.#ended(error);
  }

  #follow(signal: AbortSignal): void {
    const onSignal = () => {
      const { reason } = signal;
      this.abort(
        reason instanceof GrpcError
          ? reason
          : new GrpcError(grpcCode.CANCELLED, "context canceled", { cause: reason }),
      );
    };
    this.#onSignal = onSignal;
    if (signal.aborted) onSignal();
    else signal.addEventListener("abort", onSignal, { once: true });
  }
}

function isGrpc(contentType: string | undefined): boolean {
  return /^application\/grpc/i.test(contentType ?? "");
}

function readError(code: number, lines: readonly string[]): GrpcError {
  const message = decodeGrpcMessage(lineOf(lines, "grpc-message") ?? "");
  const encoded = lineOf(lines, "grpc-status-details-bin");
  const status = encoded === undefined ? undefined : decodeRpcStatus(decodeBinaryMetadata(encoded));
  const details = status?.details ?? [];
  return new GrpcError(code, message, { details, metadata: readMetadata(lines) });
}

function expire(call: ClientCall): void {
  call.abort(new GrpcError(grpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"));
}
