/** Pieces smaller than this are copied together. */
const smallBytesMax = 1_024;
const tailBytes = 8_192;

/**
 * The pieces of a body in order. Small ones behind another are gathered: a body that comes a byte per chunk would
 * otherwise take a hundred times its size.
 */
export class PieceList {
  /** Bytes of all pieces. */
  bytes = 0;
  private readonly pieces: Uint8Array[] = [];
  private tail: Buffer | undefined = undefined;
  private tailUsed = 0;

  get count(): number {
    return this.pieces.length;
  }

  push(piece: Uint8Array): void {
    this.bytes += piece.length;
    if (piece.length < smallBytesMax && this.pieces.length > 0) this.gather(piece);
    else {
      this.tail = undefined;
      this.pieces.push(piece);
    }
  }

  shift(): Uint8Array | undefined {
    const piece = this.pieces.shift();
    if (!piece) return undefined;
    this.bytes -= piece.length;
    if (this.pieces.length === 0) this.tail = undefined;
    return piece;
  }

  /** All bytes in one piece, without a copy when there is only one. */
  join(): Uint8Array {
    const { pieces } = this;
    return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces);
  }

  clear(): void {
    this.pieces.length = 0;
    this.bytes = 0;
    this.tail = undefined;
  }

  private gather(piece: Uint8Array): void {
    if (!this.tail || this.tailUsed + piece.length > tailBytes) {
      this.tail = Buffer.allocUnsafeSlow(tailBytes);
      this.tailUsed = 0;
      this.pieces.push(this.tail);
    }
    this.tail.set(piece, this.tailUsed);
    this.tailUsed += piece.length;
    this.pieces[this.pieces.length - 1] = this.tail.subarray(0, this.tailUsed);
  }
}
