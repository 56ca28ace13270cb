import { ConnectionError, errorCode } from "./frames.ts";

/** What the peer of a connection may still send, all streams together. */
export class ReceiveWindow {
  readonly #bytesMax: number;
  #left: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#left = bytesMax;
  }

  /**
   * Bytes have come; answers how many are to be granted anew, 0 for none yet. They are granted on receipt: a stopped
   * reader holds up nobody else.
   */
  take(bytes: number): number {
    this.#left -= bytes;
    if (this.#left < 0)
      throw new ConnectionError(errorCode.flowControlError, "the connection's window was overrun");
    if (this.#left > this.#bytesMax / 2) return 0;
    const granted = this.#bytesMax - this.#left;
    this.#left = this.#bytesMax;
    return granted;
  }
}
