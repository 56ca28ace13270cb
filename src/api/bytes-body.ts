import type { Body } from "../net/http1/types.ts";

/** Bytes that can be sent any number of times. */
export function bytesBody(bytes: Uint8Array): Body {
  return {
    size: bytes.length,
    isReady: true,
    bytes: () => bytes,
    async *[Symbol.asyncIterator]() {
      if (bytes.length > 0) yield bytes;
    },
  };
}
