import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** Beyond this the batch is written at once: it would only cost memory to wait. */
const batchBytesMax = 64 * 1024;

/** A chunk of this size goes out by itself: copying it would cost more than the system call. */
const aloneBytesMin = 8 * 1024;

type Listener = (...values: unknown[]) => void;

/** Stands for the native handle: without one Bun waits a whole turn of the loop before it ends each stream. */
const noHandle = Object.freeze({});

/**
 * A socket that writes once per turn of the event loop. Bun's HTTP/2 flushes each stream on its own, a system call per
 * answer: half the cost of a small call. It does so straight into the native handle, so the session is given this
 * stand-in, which hides it, and is no more of a Duplex than a session uses. Events are the socket's own.
 */
class BatchedSocket {
  readonly #socket: Socket;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #isScheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  on(event: string, listener: Listener): this {
    this.#socket.on(event, listener);
    return this;
  }

  once(event: string, listener: Listener): this {
    this.#socket.once(event, listener);
    return this;
  }

  removeListener(event: string, listener: Listener): this {
    this.#socket.removeListener(event, listener);
    return this;
  }

  listenerCount(event: string): number {
    return this.#socket.listenerCount(event);
  }

  get _handle(): object {
    return noHandle;
  }

  get connecting(): boolean {
    return this.#socket.connecting;
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#socket.remotePort;
  }

  get remoteFamily(): string | undefined {
    return this.#socket.remoteFamily;
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten + this.#batchBytes;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get writableEnded(): boolean {
    return this.#socket.writableEnded;
  }

  get destroyed(): boolean {
    return this.#socket.destroyed;
  }

  write(chunk: Uint8Array): boolean {
    if (chunk.length >= aloneBytesMin) {
      this.#writeBatch();
      return this.#socket.writable && this.#socket.write(chunk);
    }
    this.#batch.push(chunk);
    this.#batchBytes += chunk.length;
    if (this.#batchBytes >= batchBytesMax) this.#writeBatch();
    else if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(writeBatchLater, this);
    }
    return !this.#socket.writableNeedDrain;
  }

  /** Called by the timer of `write`. */
  writeScheduled(): void {
    this.#isScheduled = false;
    this.#writeBatch();
  }

  end(done?: unknown): this {
    this.#writeBatch();
    this.#socket.end(typeof done === "function" ? (done as () => void) : undefined);
    return this;
  }

  destroy(error?: Error): this {
    this.#writeBatch();
    this.#socket.destroy(error);
    return this;
  }

  resume(): this {
    this.#socket.resume();
    return this;
  }

  pause(): this {
    this.#socket.pause();
    return this;
  }

  ref(): this {
    this.#socket.ref();
    return this;
  }

  unref(): this {
    this.#socket.unref();
    return this;
  }

  #writeBatch(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    this.#batchBytes = 0;
    if (this.#socket.writable)
      this.#socket.write(batch.length === 1 ? (batch[0] as Uint8Array) : Buffer.concat(batch));
  }
}

function writeBatchLater(socket: BatchedSocket): void {
  socket.writeScheduled();
}

/** Where it pays: on Bun, for sockets without TLS (a session looks at a TLS socket's own fields). */
export function batched(socket: Duplex): Duplex {
  const isPlain = "remoteAddress" in socket && !("encrypted" in socket);
  return process.versions.bun !== undefined && isPlain
    ? (new BatchedSocket(socket as Socket) as unknown as Duplex)
    : socket;
}
