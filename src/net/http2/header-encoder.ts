import { entryOverheadBytes, staticTable } from "./static-table.ts";

/** Headers to send: numbers as texts, a list as several lines. */
export type HeaderObject = Record<string, string | string[] | number>;

const nameIndexes = new Map<string, number>();
const lineIndexes = new Map<string, number>();
for (const [index, [name, value]] of staticTable.entries()) {
  if (!nameIndexes.has(name)) nameIndexes.set(name, index + 1);
  lineIndexes.set(keyOf(name, value), index + 1);
}

/** Lines that come again and again with the same value; others may hold secrets, or change. */
const repeated = new Set([
  ...["content-type", "grpc-status", "grpc-accept-encoding", "grpc-encoding", "te", "user-agent"],
  ...[":status", ":method", ":scheme", ":authority", ":path"],
  ...["dapr-caller-app-id", "dapr-caller-namespace", "dapr-callee-app-id"],
]);
const repeatedCharsMax = 100;
/** Of the peer's table. Nothing is ever evicted: what does not fit is not added. */
const tableBytesMax = 2048;

const sendableName = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/;
const sendableValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Writes the header blocks of one connection, in the order in which they are sent. */
export class HeaderEncoder {
  #tableLimit = tableBytesMax;
  #tableBytes = 0;
  /** Line → how many were added before it. */
  readonly #added = new Map<string, number>();
  /** A smaller table has to be announced at the beginning of the next block. */
  #announced: number | undefined;
  /** Lines before all others of each block: name, value … */
  readonly #first: readonly string[];

  constructor(first: readonly string[] = []) {
    this.#first = first;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(bytes: number): void {
    const limit = Math.min(bytes, tableBytesMax);
    if (limit >= this.#tableLimit) return;
    // What is there already might be evicted: everything is forgotten on both sides.
    this.#tableLimit = 0;
    this.#announced = 0;
    this.#added.clear();
    this.#tableBytes = 0;
  }

  /** Throws for a header that HTTP/2 can not carry. */
  encode(headers: HeaderObject): Buffer {
    const out = new BlockWriter();
    if (this.#announced !== undefined) {
      out.integer(0x20, 5, this.#announced);
      this.#announced = undefined;
    }
    // Wherever it stands in the object: it has to be the first line.
    const status = headers[":status"];
    if (status !== undefined) this.#line(out, ":status", String(status));
    const first = this.#first;
    for (let i = 0; i < first.length; i += 2) this.#line(out, first[i] as string, first[i + 1] as string);
    for (const name in headers) {
      if (name === ":status") continue;
      const value = headers[name] as string | string[] | number;
      if (typeof value === "object") for (const one of value) this.#line(out, name, one);
      else this.#line(out, name, String(value));
    }
    return out.bytes();
  }

  #line(out: BlockWriter, name: string, value: string): void {
    const isRepeated = repeated.has(name) && value.length <= repeatedCharsMax;
    if (isRepeated) {
      const key = keyOf(name, value);
      const known = lineIndexes.get(key) ?? this.#indexOf(key);
      if (known !== undefined) {
        out.integer(0x80, 7, known);
        return;
      }
      if (this.#add(key, name, value)) {
        this.#literal(out, 0x40, 6, name, value);
        return;
      }
    }
    this.#literal(out, 0, 4, name, value);
  }

  #indexOf(key: string): number | undefined {
    const before = this.#added.get(key);
    return before === undefined ? undefined : staticTable.length + this.#added.size - before;
  }

  #add(key: string, name: string, value: string): boolean {
    const bytes = name.length + value.length + entryOverheadBytes;
    if (this.#tableBytes + bytes > this.#tableLimit) return false;
    this.#tableBytes += bytes;
    this.#added.set(key, this.#added.size);
    return true;
  }

  #literal(out: BlockWriter, pattern: number, prefixBits: number, name: string, value: string): void {
    const index = nameIndexes.get(name);
    if (index === undefined && !sendableName.test(name))
      throw new TypeError(`no header can be called ${name}`);
    if (!sendableValue.test(value))
      throw new TypeError(`the header ${name} has a value that can not be sent`);
    out.integer(pattern, prefixBits, index ?? 0);
    if (index === undefined) out.text(name);
    out.text(value);
  }
}

/** Grows as it is written to. */
class BlockWriter {
  #buffer = Buffer.allocUnsafe(128);
  #length = 0;

  integer(pattern: number, prefixBits: number, value: number): void {
    const mask = (1 << prefixBits) - 1;
    this.#reserve(6);
    if (value < mask) {
      this.#buffer[this.#length++] = pattern | value;
      return;
    }
    this.#buffer[this.#length++] = pattern | mask;
    let rest = value - mask;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.#buffer[this.#length++] = (rest & 127) | 128;
    this.#buffer[this.#length++] = rest;
  }

  text(value: string): void {
    this.integer(0, 7, value.length);
    this.#reserve(value.length);
    this.#length += this.#buffer.write(value, this.#length, "latin1");
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

function keyOf(name: string, value: string): string {
  return `${name}\0${value}`;
}
