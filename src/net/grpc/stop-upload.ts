import type { ServerHttp2Stream } from "node:http2";

/** Tells a client that still sends to stop: RST_STREAM(NO_ERROR) once the trailers are out. */
export function stopUpload(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) return;
  // What has come is read, so that a request that is complete is seen to be.
  stream.resume();
  if (stream.writableFinished) setImmediate(closeQuietly, stream);
  else stream.once("finish", () => setImmediate(closeQuietly, stream));
}

function closeQuietly(stream: ServerHttp2Stream): void {
  if (!stream.readableEnded && !stream.closed && !stream.destroyed) stream.close(0);
}
