import { encodeFrame } from "./frame.ts";

/** From this size on a message is not copied behind its prefix but sent after it. */
const separateBytesMin = 32 * 1024;

/** A stream of `node:http2`, or one of our own. */
interface MessageOutlet {
  write(chunk: Uint8Array): boolean;
  end(chunk: Uint8Array): unknown;
}

/** Sends one message; false when the stream wants to be drained before the next. */
export function writeMessage(stream: MessageOutlet, message: Uint8Array, compressed = false): boolean {
  if (message.length < separateBytesMin) return stream.write(encodeFrame(message, compressed));
  stream.write(encodePrefix(message.length, compressed));
  return stream.write(message);
}

/** Sends the last message and ends the stream. */
export function endWithMessage(stream: MessageOutlet, message: Uint8Array, compressed = false): void {
  if (message.length < separateBytesMin) stream.end(encodeFrame(message, compressed));
  else {
    stream.write(encodePrefix(message.length, compressed));
    stream.end(message);
  }
}

function encodePrefix(length: number, compressed: boolean): Buffer {
  return Buffer.of(
    compressed ? 1 : 0,
    length >>> 24,
    (length >>> 16) & 255,
    (length >>> 8) & 255,
    length & 255,
  );
}
