/** An answer of memcached's text protocol: the values of a `get`, then its last line. */
export interface Reply {
  line: string;
  values: { key: string; value: Uint8Array }[];
}

const lineBytesMax = 4_096;
const valueBytesMax = 1_024 * 1_024 * 1_024;

/** Puts replies together from the pieces of a connection. Throws at what is no answer. */
export class ReplyReader {
  #left: Buffer = Buffer.alloc(0);
  #pieces: Buffer[] = [];
  #piecesBytes = 0;
  /** How much has to be there before it is worth looking again. */
  #wanted = 0;
  #values: Reply["values"] = [];

  *read(bytes: Uint8Array): Iterable<Reply> {
    this.#pieces.push(Buffer.from(bytes));
    this.#piecesBytes += bytes.length;
    if (this.#left.length + this.#piecesBytes < this.#wanted) return;
    this.#left = Buffer.concat([this.#left, ...this.#pieces.splice(0)]);
    this.#piecesBytes = 0;
    this.#wanted = 0;
    for (;;) {
      const end = this.#left.indexOf("\r\n");
      if (end < 0 && this.#left.length > lineBytesMax) throw new Error("a line of its answer is too long");
      if (end < 0) return;
      const line = this.#left.toString("utf8", 0, end);
      if (!line.startsWith("VALUE ")) {
        this.#left = this.#left.subarray(end + 2);
        yield { line, values: this.#values };
        this.#values = [];
      } else if (!this.#takeValue(line, end + 2)) return;
    }
  }

  #takeValue(line: string, start: number): boolean {
    const [, key = "", , length = ""] = line.split(" ");
    const size = /^\d{1,10}$/.test(length) ? Number(length) : Number.NaN;
    if (!(size <= valueBytesMax)) throw new Error("a value of its answer has no length");
    const end = start + size;
    this.#wanted = end + 2;
    if (this.#left.length < this.#wanted) return false;
    if (this.#left.toString("latin1", end, end + 2) !== "\r\n")
      throw new Error("a value of its answer has no end");
    this.#values.push({ key, value: Buffer.from(this.#left.subarray(start, end)) });
    this.#left = this.#left.subarray(end + 2);
    this.#wanted = 0;
    return true;
  }
}
