import { valueBytes } from "./charset.ts";
import { HttpParseError } from "./errors.ts";
import { type HeadLimits, HeadParser } from "./head.ts";

const CR = 13;
const LF = 10;

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILERS = 6;

// For the whole body: extensions carry nothing mecha reads, and a flood of them is an attack.
const extensionBytesMax = 4096;
const sizeDigitsMax = 13;

/** Takes chunked framing off, in any pieces; trailers are checked and dropped (RFC 9112 §7.1). */
export class ChunkedDecoder {
  isDone = false;
  private readonly trailers: HeadParser;
  private state = SIZE;
  private size = 0;
  private digits = 0;
  private extensionBytes = 0;

  constructor(limits: HeadLimits) {
    this.trailers = new HeadParser("trailers", limits);
  }

  /** Reads from `bytes[from..]`, hands data to `target`, answers how far it came: past the end of the body when done. */
  feed(bytes: Buffer, from: number, target: (piece: Buffer) => void): number {
    let i = from;
    while (i < bytes.length) {
      if (this.state === DATA) {
        const end = Math.min(bytes.length, i + this.size);
        this.size -= end - i;
        if (this.size === 0) this.state = DATA_CR;
        target(bytes.subarray(i, end));
        i = end;
      } else if (this.state === TRAILERS) {
        const end = this.trailers.feed(bytes, i);
        if (end === -1) return bytes.length;
        this.isDone = true;
        return end;
      } else {
        this.step(bytes[i] as number);
        i++;
      }
    }
    return i;
  }

  private step(byte: number): void {
    switch (this.state) {
      case SIZE:
        this.readSize(byte);
        return;
      case EXTENSION:
        if (byte === CR) this.state = SIZE_LF;
        else if (valueBytes[byte] !== 1) throw new HttpParseError("invalid byte in chunk extension");
        else if (++this.extensionBytes > extensionBytesMax)
          throw new HttpParseError("chunk extensions are too long");
        return;
      case SIZE_LF:
        if (byte !== LF) throw new HttpParseError("bare CR in chunk size");
        this.state = this.size === 0 ? TRAILERS : DATA;
        this.digits = 0;
        return;
      case DATA_CR:
        if (byte !== CR) throw new HttpParseError("chunk is longer than its size");
        this.state = DATA_LF;
        return;
      default:
        if (byte !== LF) throw new HttpParseError("bare CR after chunk");
        this.state = SIZE;
    }
  }

  private readSize(byte: number): void {
    const value = hexValue(byte);
    if (value >= 0) {
      if (++this.digits > sizeDigitsMax) throw new HttpParseError("chunk size is too long");
      this.size = this.size * 16 + value;
      return;
    }
    if (this.digits === 0) throw new HttpParseError("invalid chunk size");
    if (byte === CR) this.state = SIZE_LF;
    // Only a semicolon: white space before it is an attack's mark (RFC 9112 §7.1.1 allows none to be sent).
    else if (byte === 0x3b) this.state = EXTENSION;
    else throw new HttpParseError("invalid chunk size");
  }
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
