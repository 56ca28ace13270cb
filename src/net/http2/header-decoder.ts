import { decodeHuffman } from "./huffman.ts";
import { entryOverheadBytes, staticTable } from "./static-table.ts";

/** The block breaks the rules of HPACK: the connection can not go on (COMPRESSION_ERROR). */
export class InvalidHeaderBlock extends Error {}

/** What one block held: name, value, name, value … */
export interface HeaderList {
  lines: string[];
  /** It was larger than allowed, and the rest of it was left out. */
  isTooLarge: boolean;
}

const integerMax = 2 ** 28;
const nothing = Buffer.alloc(0);

/** Reads the header blocks of one connection, in order: each changes the table that the next is read with. */
export class HeaderDecoder {
  readonly #tableBytesMax: number;
  readonly #listBytesMax: number;
  /** Newest last. */
  #entries: [name: string, value: string][] = [];
  #tableBytes = 0;
  #tableLimit: number;
  #bytes: Buffer = nothing;
  #at = 0;

  constructor(tableBytesMax: number, listBytesMax: number) {
    this.#tableBytesMax = tableBytesMax;
    this.#tableLimit = tableBytesMax;
    this.#listBytesMax = listBytesMax;
  }

  /** Throws `InvalidHeaderBlock`. */
  decode(block: Buffer): HeaderList {
    this.#bytes = block;
    this.#at = 0;
    const lines: string[] = [];
    let left = this.#listBytesMax;
    let isFirst = true;
    while (this.#at < block.length) {
      const byte = block[this.#at] as number;
      if (byte >> 5 === 1) {
        if (!isFirst) throw new InvalidHeaderBlock("a table size stands behind a header");
        this.#resize(this.#integer(5));
        continue;
      }
      isFirst = false;
      let name: string;
      let value: string;
      if (byte >= 0x80) [name, value] = this.#entry(this.#integer(7));
      else {
        const isIndexed = byte >= 0x40;
        const index = this.#integer(isIndexed ? 6 : 4);
        name = index === 0 ? this.#string() : this.#entry(index)[0];
        value = this.#string();
        if (isIndexed) this.#add([name, value]);
      }
      left -= name.length + value.length + entryOverheadBytes;
      if (left >= 0) lines.push(name, value);
    }
    this.#bytes = nothing;
    return { lines, isTooLarge: left < 0 };
  }

  #entry(index: number): readonly [string, string] {
    const found =
      index <= staticTable.length
        ? staticTable[index - 1]
        : this.#entries[this.#entries.length - (index - staticTable.length)];
    if (found === undefined) throw new InvalidHeaderBlock(`no header has the index ${index}`);
    return found;
  }

  #add(entry: [string, string]): void {
    this.#entries.push(entry);
    this.#tableBytes += sizeOf(entry);
    this.#evict();
  }

  #resize(bytes: number): void {
    if (bytes > this.#tableBytesMax)
      throw new InvalidHeaderBlock(`a table of ${bytes} bytes was not allowed`);
    this.#tableLimit = bytes;
    this.#evict();
  }

  #evict(): void {
    let gone = 0;
    while (this.#tableBytes > this.#tableLimit)
      this.#tableBytes -= sizeOf(this.#entries[gone++] as [string, string]);
    if (gone > 0) this.#entries.splice(0, gone);
  }

  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * factor;
      if (value > integerMax || factor > integerMax) throw new InvalidHeaderBlock("a number is too large");
      if (byte < 128) return value;
    }
  }

  #string(): string {
    const isCoded = ((this.#bytes[this.#at] as number) & 0x80) !== 0;
    const length = this.#integer(7);
    const from = this.#at;
    const to = from + length;
    if (to > this.#bytes.length) throw new InvalidHeaderBlock("a text is longer than its block");
    this.#at = to;
    if (!isCoded) return this.#bytes.toString("latin1", from, to);
    const text = decodeHuffman(this.#bytes, from, to);
    if (text === undefined) throw new InvalidHeaderBlock("a text is not coded as HPACK has it");
    return text;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new InvalidHeaderBlock("a block ends within a header");
    return byte;
  }
}

function sizeOf([name, value]: readonly [string, string]): number {
  return name.length + value.length + entryOverheadBytes;
}
