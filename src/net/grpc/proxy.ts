import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { addMetadata, formatGrpcTimeout, forwardedHeaders, type HeaderObject } from "./metadata.ts";
import { asGrpcError, type ServerCall } from "./server-call.ts";
import { grpcCode, grpcCodeOfHttpStatus, grpcCodeOfReset } from "./status.ts";
import { cancelStream } from "./stream-reset.ts";
import { GrpcError, type GrpcProxyTarget, type Metadata } from "./types.ts";

const endStreamFlag = 1;
const refusedStream = 7;
/**
 * Request bytes held while the connection to the other server is being chosen, and until it has begun to answer: a
 * server that shuts down may refuse the stream unseen, and then it is opened once more.
 */
const heldBytesMax = 64 * 1024;
const attemptsMax = 5;

/** Hands a call to another server: DATA passes undecoded in both directions, each side held to the other's pace. */
export function serveProxy(call: ServerCall, target: GrpcProxyTarget): void {
  const proxied = new ProxiedCall(call);
  proxied.connect(target).catch((error) => proxied.fail(asGrpcError(error)));
}

class ProxiedCall {
  readonly #call: ServerCall;
  #upstream: ClientHttp2Stream | undefined;
  #done: ((code: number) => void) | undefined;
  #open: (() => Promise<ClientHttp2Stream>) | undefined;
  #attempts = 0;
  /** What a new attempt would have to send; `undefined` when it is too much or the answer has begun. */
  #held: Uint8Array[] | undefined = [];
  #heldBytes = 0;
  #isRequestEnded = false;
  #trailers: HeaderObject | undefined;
  #session: ClientHttp2Stream["session"];

  constructor(call: ServerCall) {
    this.#call = call;
    call.onCancel = (reason) => this.#abandon(reason);
    call.reader = {
      onData: (chunk) => this.#forwardRequest(chunk),
      onEnd: () => {
        this.#isRequestEnded = true;
        this.#upstream?.end();
      },
      onDrain: () => this.#upstream?.resume(),
    };
  }

  async connect(target: GrpcProxyTarget): Promise<void> {
    const { client, metadata, done } = await target.connect(this.#call);
    this.#done = done;
    if (this.#call.isEnded) return this.#finish(grpcCode.CANCELLED);
    this.#open = () => client.open(upstreamHeaders(this.#call, metadata));
    await this.#attempt(this.#open);
  }

  async #attempt(open: () => Promise<ClientHttp2Stream>): Promise<void> {
    this.#attempts++;
    const upstream = await open();
    if (this.#call.isEnded) {
      upstream.on("error", ignore);
      cancelStream(upstream);
      return;
    }
    this.#attach(upstream);
  }

  fail(error: GrpcError): void {
    this.#call.fail(error);
    this.#finish(error.code);
  }

  #attach(upstream: ClientHttp2Stream): void {
    const { stream } = this.#call;
    this.#upstream = upstream;
    this.#session = upstream.session;
    upstream.on("error", ignore);
    upstream.on("response", (headers, flags, raw) =>
      this.#forwardHeaders(headers, flags, raw as unknown as string[]),
    );
    upstream.on("trailers", (_headers, _flags, raw) => {
      this.#trailers = forwardedHeaders(raw as unknown as string[]);
    });
    upstream.on("data", (chunk: Uint8Array) => {
      if (!this.#call.isEnded && !stream.write(chunk)) upstream.pause();
    });
    upstream.on("end", () => this.#endWithTrailers());
    upstream.on("close", () => this.#onUpstreamClose());
    upstream.on("drain", () => stream.resume());
    for (const chunk of this.#held ?? []) upstream.write(chunk);
    if (this.#isRequestEnded) upstream.end();
    else if (this.#heldBytes > heldBytesMax) stream.resume();
    if (this.#heldBytes > heldBytesMax) this.#held = undefined;
  }

  #forwardRequest(chunk: Uint8Array): void {
    if (this.#call.isEnded) return;
    const upstream = this.#upstream;
    this.#hold(chunk);
    if (upstream === undefined) {
      if (this.#heldBytes > heldBytesMax) this.#call.stream.pause();
    } else if (!upstream.write(chunk)) this.#call.stream.pause();
  }

  #hold(chunk: Uint8Array): void {
    if (this.#held === undefined) return;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes > heldBytesMax && this.#upstream !== undefined) this.#held = undefined;
  }

  #forwardHeaders(headers: IncomingHttpHeaders, flags: number, raw: string[]): void {
    this.#held = undefined;
    const isTrailersOnly = (flags & endStreamFlag) !== 0;
    const status = Number(headers[":status"]);
    const isGrpc = status === 200 && /^application\/grpc/i.test(headers["content-type"] ?? "");
    if (!isGrpc && headers["grpc-status"] === undefined) {
      const code = status === 200 ? grpcCode.UNKNOWN : grpcCodeOfHttpStatus(status);
      if (this.#upstream !== undefined) cancelStream(this.#upstream);
      this.fail(new GrpcError(code, `unexpected HTTP status code received from server: ${status}`));
      return;
    }
    const forwarded = forwardedHeaders(raw);
    forwarded[":status"] = 200;
    if (!isTrailersOnly) this.#call.forwardHeaders(forwarded);
    else {
      this.#call.forwardEnd(forwarded);
      this.#finish(codeOf(forwarded));
    }
  }

  #endWithTrailers(): void {
    if (this.#trailers === undefined || this.#call.isEnded) return;
    this.#call.forwardEnd(this.#trailers);
    this.#finish(codeOf(this.#trailers));
  }

  #onUpstreamClose(): void {
    if (this.#call.isEnded) return;
    if (this.#trailers !== undefined) {
      this.#endWithTrailers();
      return;
    }
    const code = this.#upstream?.rstCode ?? 0;
    if (code === refusedStream && this.#held !== undefined && this.#attempts < attemptsMax) {
      this.#repeat();
      return;
    }
    if (this.#session === undefined || this.#session.destroyed) {
      this.fail(new GrpcError(grpcCode.UNAVAILABLE, "the connection to the called server was lost"));
    } else if (code !== 0) {
      const text = `stream terminated by RST_STREAM with error code: ${code}`;
      this.fail(new GrpcError(grpcCodeOfReset(code), text));
    } else this.fail(new GrpcError(grpcCode.INTERNAL, "server closed the stream without sending trailers"));
  }

  #repeat(): void {
    this.#upstream = undefined;
    if (this.#open !== undefined) this.#attempt(this.#open).catch((error) => this.fail(asGrpcError(error)));
  }

  /** The client is gone or the deadline has passed. */
  #abandon(reason: GrpcError): void {
    if (this.#upstream !== undefined) cancelStream(this.#upstream);
    this.#finish(reason.code);
  }

  #finish(code: number): void {
    this.#held = undefined;
    const done = this.#done;
    this.#done = undefined;
    done?.(code);
  }
}

function upstreamHeaders(call: ServerCall, metadata: Metadata): HeaderObject {
  const headers: HeaderObject = {
    ":method": "POST",
    ":path": call.path,
    te: "trailers",
    "content-type": call.head.header("content-type") ?? "application/grpc",
  };
  const encoding = call.head.header("grpc-encoding");
  const accepted = call.head.header("grpc-accept-encoding");
  if (encoding !== undefined) headers["grpc-encoding"] = encoding;
  if (accepted !== undefined) headers["grpc-accept-encoding"] = accepted;
  if (call.deadlineMs !== undefined)
    headers["grpc-timeout"] = formatGrpcTimeout(call.deadlineMs - Date.now());
  return addMetadata(headers, metadata);
}

function codeOf(trailers: HeaderObject): number {
  const code = Number(trailers["grpc-status"]);
  return Number.isInteger(code) ? code : grpcCode.UNKNOWN;
}

function ignore(): void {}
