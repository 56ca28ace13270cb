import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { ClockTimer } from "./clock.ts";
import type { Line } from "./simulated-sockets.ts";
import type { SocketAddress } from "./sockets.ts";

/** Bytes that may be under way or unread before a writer has to wait. */
const windowBytes = 64 * 1024;

/**
 * One end of a connection in memory. What its users take of a `node:net` socket behaves the same: bytes in order,
 * half-closing, waiting for a slow reader, a reset when the other end is gone.
 */
export class SimulatedSocket extends Duplex {
  connecting = true;
  bytesRead = 0;
  bytesWritten = 0;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly remoteFamily: string | undefined;
  readonly #line: Line;
  #peer: SimulatedSocket | undefined;
  /** Arrived, and not yet read. */
  readonly #arrived: Buffer[] = [];
  #unreadBytes = 0;
  #hasPeerEnded = false;
  #isEndSent = false;
  #isReading = true;
  /** The writer that waits until the other end has read. */
  #waiting: (() => void) | undefined;
  #untilConnected: (() => void)[] = [];
  /** Nothing overtakes what was sent before, also when the latency has changed since. */
  #lastDueMs = 0;
  #idle: { limitMs: number; timer: ClockTimer | undefined } | undefined;

  constructor(line: Line, { allowHalfOpen, address }: { allowHalfOpen?: boolean; address: SocketAddress }) {
    super({ allowHalfOpen: allowHalfOpen ?? false });
    this.#line = line;
    if ("socketPath" in address) return;
    this.remoteAddress = address.host;
    this.remotePort = address.port;
    this.remoteFamily = address.host.includes(":") ? "IPv6" : "IPv4";
  }

  asSocket(): Socket {
    return this as unknown as Socket;
  }

  /** Called by the network with the end that was accepted. */
  join(accepted: SimulatedSocket): void {
    this.#peer = accepted;
    accepted.#peer = this;
    accepted.#connected();
    accepted.carry(() => this.#connected());
  }

  /** Does something at the other end, after the latency. */
  carry(action: () => void): void {
    const { clock, latencyMs } = this.#line;
    const nowMs = clock.monotonicMs();
    this.#lastDueMs = Math.max(this.#lastDueMs, nowMs + latencyMs);
    const delayMs = this.#lastDueMs - nowMs;
    if (delayMs > 0) clock.setTimer(delayMs, action);
    else setImmediate(action);
  }

  breakBoth(): void {
    this.#reset();
    if (this.#peer) this.#peer.#reset();
  }

  // ---- what node:net adds to a Duplex

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  setTimeout(limitMs: number, onTimeout?: () => void): this {
    this.#idle?.timer?.cancel();
    this.#idle = limitMs > 0 ? { limitMs, timer: undefined } : undefined;
    this.#startIdleTimer();
    if (onTimeout) this.once("timeout", onTimeout);
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  // ---- the stream's side

  override _read(): void {
    this.#isReading = true;
    // As from the system: never within the call that asked.
    setImmediate(() => this.#flow());
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.connecting) {
      this.#untilConnected.push(() => this._write(chunk, _encoding, done));
      return;
    }
    const peer = this.#peer as SimulatedSocket;
    const bytes = Buffer.from(chunk);
    this.bytesWritten += bytes.length;
    peer.#unreadBytes += bytes.length;
    this.#startIdleTimer();
    this.carry(() => peer.#receive(bytes));
    if (peer.#unreadBytes <= windowBytes) done();
    else this.#waiting = done;
  }

  override _final(done: () => void): void {
    if (this.connecting) this.#untilConnected.push(() => this._final(done));
    else {
      this.#sendEnd();
      done();
    }
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.connecting = false;
    this.#untilConnected = [];
    this.#idle?.timer?.cancel();
    this.#idle = undefined;
    this.#sendEnd();
    done(error);
  }

  // ---- the other end's side

  #connected(): void {
    if (this.destroyed) return;
    this.connecting = false;
    this.#startIdleTimer();
    for (const action of this.#untilConnected.splice(0)) action();
    this.emit("connect");
    this.emit("ready");
  }

  #receive(bytes: Buffer): void {
    if (this.destroyed) {
      // Nobody is there to take them: the sender learns it as TCP tells it.
      const peer = this.#peer;
      if (peer) this.carry(() => peer.#reset());
      return;
    }
    this.#arrived.push(bytes);
    this.#startIdleTimer();
    this.#flow();
  }

  #flow(): void {
    while (this.#isReading && !this.destroyed) {
      const bytes = this.#arrived.shift();
      if (bytes === undefined) break;
      this.bytesRead += bytes.length;
      this.#unreadBytes -= bytes.length;
      this.#isReading = this.push(bytes);
    }
    if (this.#peer && this.#unreadBytes <= windowBytes) this.#peer.#goOn();
    if (!this.#hasPeerEnded || !this.#isReading || this.destroyed) return;
    this.#hasPeerEnded = false;
    this.push(null);
  }

  #goOn(): void {
    const done = this.#waiting;
    this.#waiting = undefined;
    done?.();
  }

  #sendEnd(): void {
    const peer = this.#peer;
    if (this.#isEndSent || peer === undefined) return;
    this.#isEndSent = true;
    this.carry(() => {
      peer.#hasPeerEnded = true;
      peer.#flow();
    });
  }

  #reset(): void {
    this.destroy(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));
  }

  #startIdleTimer(): void {
    const idle = this.#idle;
    if (idle === undefined) return;
    idle.timer?.cancel();
    idle.timer = this.#line.clock.setTimer(idle.limitMs, () => this.emit("timeout"), { background: true });
  }
}
