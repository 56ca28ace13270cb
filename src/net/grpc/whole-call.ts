import type { Http2Stream } from "../http2/http2-stream.ts";
import { lineOf } from "../http2/request-head.ts";
import { forwardedHeaders, type HeaderObject } from "./metadata.ts";
import type { ServerCall } from "./server-call.ts";
import { grpcCode, grpcCodeOfHttpStatus, grpcCodeOfReset } from "./status.ts";
import { GrpcError, type WholeAnswer } from "./types.ts";

const frameHeadBytes = 5;

export interface Received {
  chunks: readonly Uint8Array[];
  isEnded: boolean;
}

/** The frame of a request of one message; rejects when there are more, and when the call ends before it is here. */
export function wholeRequest(call: ServerCall, received: Received, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  let frameBytes: number | undefined;
  return new Promise((resolve, reject) => {
    const refuse = (error: GrpcError): void => {
      // What still comes is let go.
      call.reader = { onData: ignore, onEnd: ignore };
      chunks.length = 0;
      reject(error);
    };
    const add = (chunk: Uint8Array): void => {
      chunks.push(chunk.slice());
      total += chunk.length;
      if (total < frameHeadBytes) return;
      frameBytes ??= frameBytesOf(chunks);
      if (frameBytes > bytesMax + frameHeadBytes) refuse(tooLarge("the request", bytesMax));
      else if (total > frameBytes) refuse(severalMessages());
    };
    const end = (): void => {
      if (total < frameHeadBytes) reject(new GrpcError(grpcCode.INTERNAL, "the request holds no message"));
      resolve(Buffer.concat(chunks));
    };
    call.signal.addEventListener("abort", () => reject(call.signal.reason), { once: true });
    call.reader = { onData: add, onEnd: end };
    for (const chunk of received.chunks) add(chunk);
    if (received.isEnded) end();
    else call.stream.resume();
  });
}

/** Sends a request and reads the answer to its end. */
export async function exchange(
  open: () => Promise<Http2Stream>,
  request: Uint8Array,
  { signal, bytesMax }: { signal: AbortSignal; bytesMax: number },
): Promise<WholeAnswer> {
  const upstream = await open();
  const answer: Partial<WholeAnswer> = {};
  const pieces: Uint8Array[] = [];
  let total = 0;
  return new Promise((resolve, reject) => {
    const refuse = (error: GrpcError): void => {
      reject(error);
      upstream.reset();
    };
    const stop = (): void => refuse(new GrpcError(grpcCode.CANCELLED, "context canceled"));
    upstream.receiver = {
      onHead(head, isEnd) {
        const failure = headFailure(head);
        if (failure !== undefined) return refuse(failure);
        const lines = { ...forwardedHeaders(head), ":status": 200 };
        if (isEnd) answer.trailers = lines;
        else answer.headers = lines;
      },
      onTrailers(lines) {
        answer.trailers = forwardedHeaders(lines);
      },
      onData(chunk) {
        total += chunk.length;
        if (total > bytesMax) refuse(tooLarge("the answer", bytesMax));
        else pieces.push(chunk);
      },
      onEnd: ignore,
      onDrain: ignore,
      onAbort: ignore,
      onClose() {
        signal.removeEventListener("abort", stop);
        const { headers, trailers } = answer;
        if (trailers === undefined) reject(closeFailure(upstream));
        else resolve({ headers, body: Buffer.concat(pieces), trailers, code: codeOf(trailers) });
      },
    };
    if (signal.aborted) {
      stop();
      return;
    }
    signal.addEventListener("abort", stop, { once: true });
    upstream.end(request);
  });
}

export function passAnswer(call: ServerCall, { headers, body, trailers }: WholeAnswer): void {
  if (call.isEnded) return;
  if (headers !== undefined) call.forwardHeaders(headers);
  if (body.length > 0) call.stream.write(body);
  call.forwardEnd(trailers);
}

/** What is wrong with the head of an answer. */
export function headFailure(lines: readonly string[]): GrpcError | undefined {
  const status = Number(lines[1]);
  const isGrpc = status === 200 && /^application\/grpc/i.test(lineOf(lines, "content-type") ?? "");
  if (isGrpc || lineOf(lines, "grpc-status") !== undefined) return undefined;
  const code = status === 200 ? grpcCode.UNKNOWN : grpcCodeOfHttpStatus(status);
  return new GrpcError(code, `unexpected HTTP status code received from server: ${status}`);
}

/** Why a stream closed that had no trailers. */
export function closeFailure({ resetCode, isLost }: Http2Stream): GrpcError {
  if (isLost) {
    return new GrpcError(grpcCode.UNAVAILABLE, "the connection to the called server was lost");
  }
  if (resetCode === 0) {
    return new GrpcError(grpcCode.INTERNAL, "server closed the stream without sending trailers");
  }
  const text = `stream terminated by RST_STREAM with error code: ${resetCode}`;
  return new GrpcError(grpcCodeOfReset(resetCode), text);
}

/** Of the first message: a flag, four bytes of length, the bytes. */
function frameBytesOf(chunks: readonly Uint8Array[]): number {
  return frameHeadBytes + Buffer.concat(chunks, frameHeadBytes).readUInt32BE(1);
}

export function codeOf(trailers: HeaderObject): number {
  const code = Number(trailers["grpc-status"]);
  return Number.isInteger(code) ? code : grpcCode.UNKNOWN;
}

function tooLarge(what: string, bytesMax: number): GrpcError {
  return new GrpcError(grpcCode.RESOURCE_EXHAUSTED, `${what} is larger than ${bytesMax} bytes`);
}

function severalMessages(): GrpcError {
  const text = "an idempotency key is for calls of one message, not for streams";
  return new GrpcError(grpcCode.INVALID_ARGUMENT, text);
}

function ignore(): void {}
