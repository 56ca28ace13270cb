import { equalsLower, lineBytes, tokenBytes, valueBytes } from "./charset.ts";
import { HttpParseError } from "./errors.ts";
import { nameAt } from "./field-names.ts";
import type { RawHeaders } from "./types.ts";

const CR = 13;
const LF = 10;
const SP = 32;
const TAB = 9;
const COLON = 58;

const START = 0;
const START_LF = 1;
const LINE = 2;
const LINE_LF = 3;
const FIELD = 4;
const NAME = 5;
const SPACE = 6;
const VALUE = 7;
const VALUE_LF = 8;
const END_LF = 9;

/** The head of one message: its text, and where in it each field's name and value stand. */
export class MessageHead {
  readonly text: string;
  /** End of the start line. */
  readonly lineStart: number;
  readonly lineEnd: number;
  /** Four offsets per field: name from, name to, value from, value to. */
  readonly marks: number[];
  private raw: RawHeaders | undefined;

  constructor(text: string, lineStart: number, lineEnd: number, marks: number[]) {
    this.text = text;
    this.lineStart = lineStart;
    this.lineEnd = lineEnd;
    this.marks = marks;
    this.raw = undefined;
  }

  get rawHeaders(): RawHeaders {
    if (this.raw) return this.raw;
    const { text, marks } = this;
    const raw: string[] = [];
    for (let i = 0; i < marks.length; i += 4) {
      raw.push(nameAt(text, marks[i] as number, marks[i + 1] as number), this.value(i));
    }
    this.raw = raw;
    return raw;
  }

  /** The value by lower-case name; several lines are joined by ", ". */
  header(lowerName: string): string | undefined {
    const { text, marks } = this;
    let found: string | undefined;
    for (let i = 0; i < marks.length; i += 4) {
      if (!equalsLower(text, marks[i] as number, marks[i + 1] as number, lowerName)) continue;
      const value = this.value(i);
      found = found === undefined ? value : `${found}, ${value}`;
    }
    return found;
  }

  /** The value of the field whose marks begin at `index`. */
  value(index: number): string {
    return this.text.substring(this.marks[index + 2] as number, this.marks[index + 3] as number);
  }
}

export interface HeadLimits {
  maxBytes: number;
  maxFields: number;
}

/**
 * Reads message heads (or chunked trailers) byte by byte, whole or in any pieces, and refuses everything that
 * two implementations might read differently: RFC 9112 without its leniencies.
 */
export class HeadParser {
  private readonly limits: HeadLimits;
  private readonly startState: number;
  private readonly allowsBlank: boolean;
  private state: number;
  private marks: number[] = [];
  private lineStart = 0;
  private lineEnd = 0;
  private held: Buffer | undefined;
  private heldBytes = 0;
  private done: MessageHead | undefined;
  private readonly checkLine: ((head: MessageHead) => void) | undefined;
  private isLineChecked = false;

  /** `checkLine` throws for a wrong start line, which is then refused before the rest of its head has come. */
  constructor(
    kind: "request" | "response" | "trailers",
    limits: HeadLimits,
    checkLine?: (head: MessageHead) => void,
  ) {
    this.checkLine = checkLine;
    this.limits = limits;
    this.startState = kind === "trailers" ? FIELD : kind === "request" ? START : LINE;
    this.allowsBlank = kind === "request";
    this.state = this.startState;
  }

  /** Whether no byte of the next head has been seen. */
  get isFresh(): boolean {
    return this.heldBytes === 0;
  }

  /** Reads from `chunk[from..]`; answers where the head ended, or -1 when all was used and more is needed. */
  feed(chunk: Buffer, from: number): number {
    if (this.heldBytes === 0) {
      const end = this.scan(chunk, from, from);
      if (end === -1) {
        this.hold(chunk, from);
        this.checkEarly();
      } else this.finish(chunk, from, end);
      return end;
    }
    const before = this.heldBytes;
    const room = this.limits.maxBytes + 2 - before;
    this.hold(room < chunk.length - from ? chunk.subarray(0, from + room) : chunk, from);
    const held = this.held as Buffer;
    const end = this.scan(held.subarray(0, this.heldBytes), 0, before);
    if (end === -1) {
      this.checkEarly();
      return -1;
    }
    this.finish(held, 0, end);
    return from + end - before;
  }

  /** The head that `feed` has completed; the parser is then ready for the next. */
  take(): MessageHead {
    const head = this.done as MessageHead;
    this.done = undefined;
    return head;
  }

  private get heldChunk(): Buffer {
    return this.held?.subarray(0, this.heldBytes) ?? Buffer.alloc(0);
  }

  private finish(bytes: Buffer, from: number, end: number): void {
    this.done = new MessageHead(
      bytes.toString("latin1", from, end),
      this.lineStart,
      this.lineEnd,
      this.marks,
    );
    this.marks = [];
    this.state = this.startState;
    this.held = undefined;
    this.heldBytes = 0;
    this.lineStart = 0;
    this.lineEnd = 0;
    this.isLineChecked = false;
  }

  private checkEarly(): void {
    if (this.isLineChecked || this.lineEnd === 0) return;
    this.isLineChecked = true;
    const text = this.heldChunk.toString("latin1");
    this.checkLine?.(new MessageHead(text, this.lineStart, this.lineEnd, []));
  }

  private hold(chunk: Buffer, from: number): void {
    const total = this.heldBytes + chunk.length - from;
    if (!this.held || this.held.length < total) {
      const larger = Buffer.allocUnsafe(Math.max(512, total * 2));
      this.held?.copy(larger, 0, 0, this.heldBytes);
      this.held = larger;
    }
    chunk.copy(this.held, this.heldBytes, from);
    this.heldBytes = total;
  }

  /** Advances the machine over `bytes[from..]`; offsets kept are relative to `base`. */
  private scan(bytes: Buffer, base: number, from: number): number {
    const { marks } = this;
    const end = bytes.length;
    const stop = Math.min(end, base + this.limits.maxBytes);
    let state = this.state;
    let i = from;
    while (i < stop) {
      const byte = bytes[i] as number;
      switch (state) {
        case START:
          if (byte === CR && this.allowsBlank && this.lineStart === 0) state = START_LF;
          else if (byte === CR) throw new HttpParseError("empty start line");
          else {
            state = LINE;
            continue;
          }
          break;
        case START_LF:
          if (byte !== LF) throw new HttpParseError("bare CR");
          this.lineStart = i + 1 - base;
          state = START;
          break;
        case LINE:
          while (i < stop && lineBytes[bytes[i] as number] === 1) i++;
          if (i === stop) continue;
          if (bytes[i] !== CR) throw new HttpParseError("invalid byte in start line");
          this.lineEnd = i - base;
          state = LINE_LF;
          break;
        case LINE_LF:
        case VALUE_LF:
          if (byte !== LF) throw new HttpParseError("bare CR");
          state = FIELD;
          break;
        case FIELD:
          state = byte === CR ? END_LF : NAME;
          if (state === END_LF) break;
          this.startName(i - base);
          continue;
        case NAME:
          while (i < stop && tokenBytes[bytes[i] as number] === 1) i++;
          if (i === stop) continue;
          this.endName(bytes[i] as number, i - base);
          state = SPACE;
          break;
        case SPACE:
          if (byte === SP || byte === TAB) break;
          marks.push(i - base);
          state = VALUE;
          continue;
        case VALUE:
          while (i < stop && valueBytes[bytes[i] as number] === 1) i++;
          if (i === stop) continue;
          if (bytes[i] !== CR) throw new HttpParseError("invalid byte in field value");
          this.endValue(bytes, base, i);
          state = VALUE_LF;
          break;
        default:
          if (byte !== LF) throw new HttpParseError("bare CR");
          return i + 1;
      }
      i++;
    }
    if (stop < end || i - base >= this.limits.maxBytes) throw new HttpParseError("head is too large", 431);
    this.state = state;
    return -1;
  }

  private startName(at: number): void {
    if (this.marks.length >= this.limits.maxFields * 4) throw new HttpParseError("too many fields", 431);
    this.marks.push(at);
  }

  private endName(byte: number, at: number): void {
    const { marks } = this;
    if (byte !== COLON) throw new HttpParseError("invalid byte in field name");
    if (at === marks[marks.length - 1]) throw new HttpParseError("empty field name");
    marks.push(at);
  }

  private endValue(bytes: Buffer, base: number, at: number): void {
    const { marks } = this;
    const from = base + (marks[marks.length - 1] as number);
    let to = at;
    while (to > from && (bytes[to - 1] === SP || bytes[to - 1] === TAB)) to--;
    marks.push(to - base);
  }
}
