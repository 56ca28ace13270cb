import type { ServerHttp2Stream } from "node:http2";

/** Tells a client that still sends to stop: RST_STREAM(NO_ERROR) once the trailers are out. */
export function stopUpload(stream: ServerHttp2Stream): void {
  if (stream.readableEnded || stream.endAfterHeaders) return;
  stream.resume();
  if (stream.writableFinished) setImmediate(closeQuietly, stream);
  else stream.once("finish", () => setImmediate(closeQuietly, stream));
}

function closeQuietly(stream: ServerHttp2Stream): void {
  if (!stream.readableEnded && !stream.closed && !stream.destroyed) stream.close(0);
}
