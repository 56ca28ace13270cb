/** Reads lines and then pieces of one size from chunks of any size, holding back one piece at most. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Up to the next line feed, without it; `undefined` when there is none in so many bytes. */
  async line(bytesMax: number): Promise<Uint8Array | undefined> {
    let seen = 0;
    while (true) {
      const end = this.#rest.indexOf(10, seen);
      if (end >= 0 && end <= bytesMax) {
        const line = this.#rest.subarray(0, end);
        this.#rest = this.#rest.subarray(end + 1);
        return line;
      }
      seen = this.#rest.length;
      if (seen > bytesMax) return undefined;
      const next = await this.#chunks.next();
      if (next.done) return undefined;
      this.#rest = Buffer.concat([this.#rest, next.value]);
    }
  }

  /** What is left in pieces of that size; the last may be shorter, and there is none when nothing is left. */
  async *pieces(size: number): AsyncGenerator<{ bytes: Uint8Array; isLast: boolean }> {
    const piece = new Uint8Array(size);
    let filled = 0;
    let chunk: Uint8Array | undefined = this.#rest;
    this.#rest = new Uint8Array(0);
    while (chunk !== undefined) {
      let at = 0;
      while (at < chunk.length) {
        // A byte more is there, so this one is not the last.
        if (filled === size) {
          yield { bytes: piece, isLast: false };
          filled = 0;
        }
        const taken = Math.min(size - filled, chunk.length - at);
        piece.set(chunk.subarray(at, at + taken), filled);
        filled += taken;
        at += taken;
      }
      const next = await this.#chunks.next();
      chunk = next.done ? undefined : next.value;
    }
    if (filled > 0) yield { bytes: piece.subarray(0, filled), isLast: true };
  }
}
