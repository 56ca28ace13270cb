import { entryOverheadBytes, staticTable } from "./static-table.ts";

/** Headers to send: numbers as texts, a list as several lines. */
export type HeaderObject = Record<string, string | string[] | number>;

/** What is known of a name, whoever sends it. */
interface KnownName {
  /** In the static table; 0: it is not there. */
  index: number;
  /** Indexes of whole lines of the static table, by value. */
  lines: Map<string, number> | undefined;
  /** Of the values that are added to the tables of peers; -1: none are. */
  place: number;
}

/** Lines that come again and again with the same value; others may hold secrets, or change. */
const repeated = [
  ...["content-type", "grpc-status", "grpc-accept-encoding", "grpc-encoding", "te", "user-agent"],
  ...[":status", ":method", ":scheme", ":authority", ":path"],
  ...["dapr-caller-app-id", "dapr-caller-namespace", "dapr-callee-app-id"],
];
const repeatedCharsMax = 100;
/** Of the peer's table. Nothing is ever evicted: what does not fit is not added. */
const tableBytesMax = 2048;

const names = new Map<string, KnownName>();
/** Names come from outside. */
const namesMax = 1000;
for (const [place, name] of repeated.entries()) names.set(name, { index: 0, lines: undefined, place });
for (const [index, [name, value]] of staticTable.entries()) {
  const known = names.get(name) ?? { index: 0, lines: undefined, place: -1 };
  names.set(name, known);
  if (known.index === 0) known.index = index + 1;
  // Lines of other names are sent as what they are, whichever value they have.
  if (known.place < 0) continue;
  known.lines ??= new Map();
  known.lines.set(value, index + 1);
}

const sendableName = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/;
const sendableValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Writes the header blocks of one connection, in the order in which they are sent. */
export class HeaderEncoder {
  #tableLimit = tableBytesMax;
  #tableBytes = 0;
  #tableLines = 0;
  /** By the places of their names: value → how many lines were added before it. */
  #added: (Map<string, number> | undefined)[] = [];
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
    this.#added = [];
    this.#tableBytes = 0;
    this.#tableLines = 0;
  }

  /** The bytes hold until the next block is written. Throws for a header that HTTP/2 can not carry. */
  encode(headers: HeaderObject): Buffer {
    const before = this.#tableLines;
    const bytesBefore = this.#tableBytes;
    desk.begin();
    try {
      if (this.#announced !== undefined) desk.integer(0x20, 5, this.#announced);
      // Wherever it stands in the object: it has to be the first line.
      const status = headers[":status"];
      if (status !== undefined) this.#line(":status", String(status));
      const first = this.#first;
      for (let i = 0; i < first.length; i += 2) this.#line(first[i] as string, first[i + 1] as string);
      for (const name in headers) {
        if (name === ":status") continue;
        const value = headers[name] as string | string[] | number;
        if (typeof value === "string") this.#line(name, value);
        else if (typeof value === "object") for (const one of value) this.#line(name, one);
        else this.#line(name, String(value));
      }
    } catch (error) {
      this.#forget(before, bytesBefore);
      throw error;
    }
    this.#announced = undefined;
    return desk.bytes();
  }

  /** The peer never hears of a block that can not be sent. */
  #forget(before: number, bytesBefore: number): void {
    for (const values of this.#added) {
      for (const [value, order] of values ?? []) if (order >= before) values?.delete(value);
    }
    this.#tableLines = before;
    this.#tableBytes = bytesBefore;
  }

  #line(name: string, value: string): void {
    const known = names.get(name) ?? learn(name);
    const { place } = known;
    if (place < 0 || value.length > repeatedCharsMax) {
      literal(0, 4, known, name, value);
      return;
    }
    const index = known.lines?.get(value) ?? this.#indexOf(place, value);
    if (index !== undefined) desk.integer(0x80, 7, index);
    else if (this.#tableBytes + name.length + value.length + entryOverheadBytes > this.#tableLimit)
      literal(0, 4, known, name, value);
    else {
      literal(0x40, 6, known, name, value);
      this.#add(place, name, value);
    }
  }

  #indexOf(place: number, value: string): number | undefined {
    const before = this.#added[place]?.get(value);
    return before === undefined ? undefined : staticTable.length + this.#tableLines - before;
  }

  #add(place: number, name: string, value: string): void {
    this.#tableBytes += name.length + value.length + entryOverheadBytes;
    const values = this.#added[place] ?? new Map<string, number>();
    this.#added[place] = values;
    values.set(value, this.#tableLines++);
  }
}

function learn(name: string): KnownName {
  if (!sendableName.test(name)) throw new TypeError(`no header can be called ${name}`);
  const known = { index: 0, lines: undefined, place: -1 };
  if (names.size < namesMax) names.set(name, known);
  return known;
}

function literal(
  pattern: number,
  prefixBits: number,
  { index }: KnownName,
  name: string,
  value: string,
): void {
  if (!sendableValue.test(value)) throw new TypeError(`the header ${name} has a value that can not be sent`);
  desk.integer(pattern, prefixBits, index);
  if (index === 0) desk.text(name);
  desk.text(value);
}

/** Longer texts are not written character by character. */
const spelledCharsMax = 40;

/** Where one block after the other is written; it grows as it is written to. */
class Desk {
  #buffer = Buffer.allocUnsafeSlow(4096);
  #length = 0;

  begin(): void {
    this.#length = 0;
  }

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
    const { length } = value;
    this.integer(0, 7, length);
    this.#reserve(length);
    if (length > spelledCharsMax) {
      this.#length += this.#buffer.write(value, this.#length, "latin1");
      return;
    }
    const buffer = this.#buffer;
    let at = this.#length;
    for (let i = 0; i < length; i++) buffer[at++] = value.charCodeAt(i);
    this.#length = at;
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + bytes));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

const desk = new Desk();
