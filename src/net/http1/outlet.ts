import type { Socket } from "node:net";
import type { ByteSink } from "./message-writer.ts";

/**
 * The way out of a socket. A message that finds nothing before it goes straight to the socket's own `_write`, past
 * the bookkeeping of a Writable (0.6 µs each, docs/internals/http.md); what the kernel does not take at once, and
 * everything corked or behind it, goes through the stream as usual.
 */
export class Outlet implements ByteSink {
  readonly encrypted: boolean;
  private readonly socket: Socket;
  private readonly drained: () => void;
  /** A direct write whose bytes the kernel has not all taken. */
  private isBusy = false;
  private isLate = false;
  private isEnded = false;
  /** What was written meanwhile: one message, or a few, since writers stop when told. */
  private behind: Uint8Array[] = [];
  private ending: (() => void) | undefined = undefined;

  /** `drained` is called when there is room again after `write` answered false. */
  constructor(socket: Socket, drained: () => void) {
    this.socket = socket;
    this.drained = drained;
    this.encrypted = "encrypted" in socket && socket.encrypted === true;
  }

  get writableLength(): number {
    return this.isBusy ? 1 : this.socket.writableLength;
  }

  get writableCorked(): number {
    return this.socket.writableCorked;
  }

  get hasRoom(): boolean {
    return !this.isBusy && !this.socket.writableNeedDrain;
  }

  write(data: string | Uint8Array, encoding?: BufferEncoding): boolean {
    const { socket } = this;
    if (this.isEnded || socket.destroyed) return true;
    if (this.isBusy) {
      this.behind.push(typeof data === "string" ? Buffer.from(data, encoding) : data);
      return false;
    }
    const isPlain = typeof data !== "string" && !this.encrypted;
    if (!isPlain || socket.writableLength > 0 || socket.writableCorked > 0)
      return socket.write(data, encoding);
    this.isBusy = true;
    // Streams name this encoding for bytes; the type does not know it.
    socket._write(data, "buffer" as BufferEncoding, this.written);
    this.isLate = this.isBusy;
    return !this.isBusy;
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): void {
    this.socket.uncork();
  }

  /** Sends the end after everything written. */
  end(): void {
    this.finish(() => this.socket.end());
  }

  /** Sends everything written, then drops the connection. */
  endAndDestroy(): void {
    this.finish(() => this.socket.destroySoon());
  }

  private finish(ending: () => void): void {
    this.isEnded = true;
    if (this.isBusy) this.ending = ending;
    else ending();
  }

  private readonly written = (error?: Error | null): void => {
    this.isBusy = false;
    if (error) {
      this.socket.destroy(error);
      return;
    }
    if (!this.isLate) return;
    this.isLate = false;
    for (const data of this.behind.splice(0)) this.socket.write(data);
    this.ending?.();
    // Otherwise the stream's own `drain` follows.
    if (!this.socket.writableNeedDrain) this.drained();
  };
}
