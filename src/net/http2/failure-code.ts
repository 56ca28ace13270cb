import { ConnectionError, errorCode } from "./frames.ts";
import { InvalidHeaderBlock } from "./header-decoder.ts";

/** What GOAWAY says of an error that ends a connection. */
export function failureCode(error: unknown): number {
  if (error instanceof ConnectionError) return error.code;
  return error instanceof InvalidHeaderBlock ? errorCode.compressionError : errorCode.internalError;
}
