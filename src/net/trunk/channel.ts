import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";

/** One of the connections that a trunk carries, with all that the HTTP/1.1 codec asks of a `Socket`. */
export class Channel extends Duplex implements StreamReceiver {
  #stream: Http2Stream | undefined;
  #carrier: Socket | undefined;
  #written: (() => void) | undefined;

  get remoteAddress(): string | undefined {
    return this.#carrier?.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#carrier?.remotePort;
  }

  /** Before anything is read or written. */
  begin(stream: Http2Stream, carrier: Socket): void {
    this.#stream = stream;
    this.#carrier = carrier;
    stream.receiver = this;
  }

  asSocket(): Socket {
    return this as unknown as Socket;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  override _read(): void {
    this.#stream?.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const stream = this.#stream;
    if (!stream?.isWritable) {
      done(new Error("the connection is closed"));
      return;
    }
    const hasRoom = stream.write(chunk);
    // Writers use their buffer again as soon as they are told that it is written.
    stream.keepPending();
    if (hasRoom) done();
    else this.#written = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#stream?.reset();
    done(error);
  }

  // ---- from the stream

  onHead(): void {
    this.emit("secureConnect");
  }

  onData(chunk: Uint8Array): void {
    if (!this.push(chunk)) this.#stream?.pause();
  }

  onEnd(): void {
    this.push(null);
  }

  onDrain(): void {
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }

  onAbort(): void {
    this.destroy(Object.assign(new Error("the peer reset the connection"), { code: "ECONNRESET" }));
  }

  onClose(): void {
    this.destroy();
  }
}
