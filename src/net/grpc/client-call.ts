import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
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
import { cancelStream } from "./stream-reset.ts";
import { type GrpcCallOptions, GrpcError, type Metadata } from "./types.ts";

const endStreamFlag = 1;

/** One call on the client's side: its request headers, its time limits and how it ended. */
export class ClientCall {
  readonly path: string;
  readonly options: GrpcCallOptions;
  isEnded = false;
  /** The server has begun to answer: the call may not be repeated any more. */
  isAnswered = false;
  onEnd: (error: GrpcError | undefined) => void;
  /** Present: runs instead of the end when the server refused the stream unseen, so that it may be repeated. */
  onRefused: (() => void) | undefined;
  #stream: ClientHttp2Stream | undefined;
  #connection: ClientConnection | undefined;
  #status: GrpcError | "ok" | undefined;
  #httpStatus = 0;
  #encoding: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadlineMs: number | undefined;
  #onSignal: (() => void) | undefined;

  constructor(path: string, options: GrpcCallOptions, onEnd: (error: GrpcError | undefined) => void) {
    this.path = path;
    this.options = options;
    this.onEnd = onEnd;
    const { timeoutMs, signal } = options;
    if (timeoutMs !== undefined) {
      this.#deadlineMs = Date.now() + timeoutMs;
      if (timeoutMs <= 0) expire(this);
      else if (timeoutMs <= timerMaxMs) this.#timer = setTimeout(expire, timeoutMs, this);
    }
    if (signal !== undefined && !this.isEnded) this.#follow(signal);
  }

  /** Opens the stream on a connection; the caller listens for data and writes. */
  start(connection: ClientConnection): ClientHttp2Stream {
    this.#connection = connection;
    connection.activeCalls++;
    let stream: ClientHttp2Stream;
    try {
      stream = connection.session.request(this.#headers());
    } catch (error) {
      connection.release();
      throw error;
    }
    this.#stream = stream;
    stream.on("error", ignore);
    stream.on("close", () => {
      connection.release();
      if (this.#stream === stream) this.#settle();
    });
    stream.on("trailers", (headers, _flags, raw) => this.#readStatus(headers, raw as unknown as string[]));
    stream.on("response", (headers, flags, raw) =>
      this.#readHeaders(headers, flags, raw as unknown as string[]),
    );
    stream.on("end", () => {
      if (this.#status !== undefined) this.#settle();
    });
    return stream;
  }

  /** Ends the call from this side. */
  abort(error: GrpcError): void {
    if (this.isEnded) return;
    const stream = this.#stream;
    this.#finish(error);
    if (stream !== undefined) cancelStream(stream);
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

  #readHeaders(headers: IncomingHttpHeaders, flags: number, raw: string[]): void {
    this.isAnswered = true;
    this.#httpStatus = Number(headers[":status"]);
    const encoding = headers["grpc-encoding"] as string | undefined;
    this.#encoding = encoding === "identity" ? undefined : encoding;
    if ((flags & endStreamFlag) !== 0) this.#readStatus(headers, raw);
    else if (this.#httpStatus !== 200 || !/^application\/grpc/i.test(headers["content-type"] ?? "")) {
      this.abort(this.#unexpected(headers["content-type"]));
    } else this.options.onHeaders?.(readMetadata(raw));
  }

  #readStatus(headers: IncomingHttpHeaders, raw: string[]): void {
    const status = headers["grpc-status"] as string | undefined;
    if (status === undefined) return;
    const code = /^[0-9]{1,9}$/.test(status) ? Number(status) : grpcCode.UNKNOWN;
    if (code === grpcCode.OK) {
      this.#status = "ok";
      this.options.onTrailers?.(readMetadata(raw));
    } else this.#status = readError(code, headers, readMetadata(raw));
  }

  #unexpected(contentType: string | undefined): GrpcError {
    const code = this.#httpStatus === 200 ? grpcCode.UNKNOWN : grpcCodeOfHttpStatus(this.#httpStatus);
    const text = `unexpected HTTP status code received from server: ${this.#httpStatus}; content-type "${contentType ?? ""}"`;
    return new GrpcError(code, text);
  }

  #settle(): void {
    if (this.isEnded) return;
    // By RST_STREAM(REFUSED_STREAM), or by a GOAWAY whose last stream is an earlier one.
    const isRefused = !this.isAnswered && this.#stream?.rstCode === 7;
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
    if (connection === undefined || connection.isLost || connection.session.destroyed) {
      return new GrpcError(grpcCode.UNAVAILABLE, connection?.lossReason ?? "no connection");
    }
    const code = this.#stream?.rstCode ?? 0;
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
    if (stream !== undefined && !stream.writableEnded) cancelStream(stream);
    this.onEnd(error);
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

function readError(code: number, headers: IncomingHttpHeaders, metadata: Metadata): GrpcError {
  const message = decodeGrpcMessage((headers["grpc-message"] as string | undefined) ?? "");
  const encoded = headers["grpc-status-details-bin"] as string | undefined;
  const status = encoded === undefined ? undefined : decodeRpcStatus(decodeBinaryMetadata(encoded));
  return new GrpcError(code, message, { details: status?.details ?? [], metadata });
}

function expire(call: ClientCall): void {
  call.abort(new GrpcError(grpcCode.DEADLINE_EXCEEDED, "context deadline exceeded"));
}

function ignore(): void {}
