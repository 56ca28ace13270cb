import { EventEmitter } from "node:events";
import type { Socket } from "node:net";

/** A socket for tests without a network: `push` is what arrives, `sent` is what was written. */
export class FixtureSocket extends EventEmitter {
  destroyed = false;
  isEnded = false;
  writableNeedDrain = false;
  readonly writableLength = 0;
  readonly writableCorked = 0;
  readonly remoteAddress = "127.0.0.1";
  private written: Buffer[] = [];

  get sent(): string {
    return Buffer.concat(this.written).toString("latin1");
  }

  /** What the connection under test sees. */
  asSocket(): Socket {
    return this as unknown as Socket;
  }

  push(_chunk: Buffer | null): boolean {
    throw new Error("nobody has tapped the socket");
  }

  write(data: string | Uint8Array, encoding?: BufferEncoding): boolean {
    this.written.push(typeof data === "string" ? Buffer.from(data, encoding) : Buffer.from(data));
    return true;
  }

  _write(data: Uint8Array, _encoding: string, done: () => void): void {
    this.write(data);
    done();
  }

  _read(): void {}
  cork(): void {}
  uncork(): void {}

  end(): void {
    this.isEnded = true;
  }

  destroySoon(): void {
    this.end();
    this.destroy();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.isEnded = true;
    queueMicrotask(() => this.emit("close", false));
  }
}
