import { type BodySink, IncomingBody } from "./body.ts";
import { CHUNKED, UNTIL_CLOSE } from "./controls.ts";
import { InvalidMessage } from "./errors.ts";
import { type ByteSink, writeChunk } from "./message-writer.ts";

export interface BodyWriterEvents {
  /**
   * Called once: without an error when the last byte has been handed to the socket, with one when the message
   * cannot be completed and its connection must go.
   */
  done(error: Error | undefined): void;
  /** The peer does not read as fast as the body comes. */
  stalled?(): void;
}

/** Sends a streamed body in its framing, with back-pressure. */
export class BodyWriter implements BodySink {
  private readonly socket: ByteSink;
  private readonly isChunked: boolean;
  private remaining: number;
  private readonly events: BodyWriterEvents;
  private isSettled = false;
  private incoming: IncomingBody | undefined = undefined;
  private iterator: AsyncIterator<Uint8Array> | undefined = undefined;
  private wake: (() => void) | undefined = undefined;

  constructor(socket: ByteSink, length: number, events: BodyWriterEvents) {
    this.socket = socket;
    this.isChunked = length === CHUNKED;
    this.remaining = length === CHUNKED || length === UNTIL_CLOSE ? Number.POSITIVE_INFINITY : length;
    this.events = events;
  }

  /** Begins sending; another connection's body flows over without a promise per piece. */
  start(body: AsyncIterable<Uint8Array>): void {
    if (!(body instanceof IncomingBody)) {
      this.pump(body).catch((error: unknown) => this.fail(toError(error)));
      return;
    }
    this.incoming = body;
    try {
      body.pipeTo(this);
    } catch (error) {
      this.incoming = undefined;
      this.fail(toError(error));
    }
  }

  /** The socket has room again. */
  drained(): void {
    const { wake } = this;
    this.wake = undefined;
    wake?.();
    if (!this.isSettled) this.incoming?.resume();
  }

  /** The connection is gone: whoever produces the body is told to stop. */
  cancel(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.stopProducer();
    this.wake?.();
  }

  write(chunk: Uint8Array): boolean {
    const { length } = chunk;
    if (length === 0 || this.isSettled) return true;
    if (length > this.remaining) {
      this.fail(new InvalidMessage("body is longer than its Content-Length"));
      return true;
    }
    if (!this.isChunked) this.remaining -= length;
    const hasRoom = this.isChunked ? writeChunk(this.socket, chunk) : this.socket.write(chunk);
    if (!hasRoom) this.events.stalled?.();
    return hasRoom;
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): void {
    this.socket.uncork();
  }

  end(): void {
    if (this.isSettled) return;
    if (this.remaining > 0 && this.remaining !== Number.POSITIVE_INFINITY) {
      this.fail(new InvalidMessage("body is shorter than its Content-Length"));
      return;
    }
    this.isSettled = true;
    if (this.isChunked) this.socket.write("0\r\n\r\n", "latin1");
    this.events.done(undefined);
  }

  fail(error: Error): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.stopProducer();
    this.events.done(error);
  }

  private stopProducer(): void {
    this.incoming?.discard();
    // Not awaited: a generator answers return() only when its pending step has ended.
    this.iterator?.return?.()?.then(undefined, () => {});
  }

  private async pump(body: AsyncIterable<Uint8Array>): Promise<void> {
    const iterator = body[Symbol.asyncIterator]();
    this.iterator = iterator;
    while (!this.isSettled) {
      const step = await iterator.next();
      if (step.done) {
        this.iterator = undefined;
        this.end();
        return;
      }
      if (!this.write(step.value) && !this.isSettled) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
