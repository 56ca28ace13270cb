import { gunzip, gzip } from "node:zlib";
import type { Frame } from "./frame.ts";
import { grpcCode } from "./status.ts";
import { GrpcError } from "./types.ts";

/** What grpc-accept-encoding announces. */
export const acceptedEncodings = "identity,gzip";

/** Replies below this size are not worth the work. */
export const compressionMinBytes = 1024;

/** The message of a frame, inflated when its flag says so. Bounded: a small bomb cannot grow past the limit. */
export function inflateFrame(
  frame: Frame,
  encoding: string | undefined,
  maxMessageBytes: number,
): Uint8Array | Promise<Uint8Array> {
  if (!frame.compressed) return frame.payload;
  if (encoding !== "gzip") {
    throw new GrpcError(grpcCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding");
  }
  return inflate(frame.payload, maxMessageBytes);
}

function inflate(payload: Uint8Array, maxMessageBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gunzip(payload, { maxOutputLength: Math.max(1, maxMessageBytes) }, (error, message) => {
      if (!error) resolve(message);
      else if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE")
        reject(inflatedTooLarge(maxMessageBytes));
      else {
        const text = `grpc: failed to decompress the received message: ${error.message}`;
        reject(new GrpcError(grpcCode.INTERNAL, text, { cause: error }));
      }
    });
  });
}

function inflatedTooLarge(maxMessageBytes: number): GrpcError {
  const text = `grpc: received message after decompression larger than max ${maxMessageBytes}`;
  return new GrpcError(grpcCode.RESOURCE_EXHAUSTED, text);
}

export function deflate(message: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gzip(message, { level: 1 }, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
}
