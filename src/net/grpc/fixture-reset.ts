import type { Http2Stream } from "node:http2";

/**
 * Cancels a stream with RST_STREAM(CANCEL) and nothing else. `stream.close(8)` would first send END_STREAM, on Bun as
 * on Node: the peer then takes half an upload for the whole.
 */
export function cancelStream(stream: Http2Stream): void {
  if (!stream.closed && !stream.destroyed) stream.destroy(cancelled());
}

/** The error that makes Bun choose the code CANCEL. */
function cancelled(): Error {
  return Object.assign(new Error("the call was cancelled"), { name: "AbortError", code: "ABORT_ERR" });
}
