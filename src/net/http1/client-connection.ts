import type { Socket } from "node:net";
import { Answer } from "./answer.ts";
import { aborted, type BodySource, noBody, WholeBody } from "./body.ts";
import { BodyReceiver } from "./body-receiver.ts";
import { BodyWriter } from "./body-writer.ts";
import type { ClientCall } from "./client-call.ts";
import { type Controls, isPersistent, readControls, responseLength, UNTIL_CLOSE } from "./controls.ts";
import { ConnectionLost, HttpParseError } from "./errors.ts";
import { type HeadLimits, HeadParser, type MessageHead } from "./head.ts";
import { writeMessage } from "./message-writer.ts";
import { Outlet } from "./outlet.ts";
import { readOn, type SocketOwner, tapSocket } from "./socket-tap.ts";
import { parseStatusLine, type StatusLine } from "./start-line.ts";
import type { ConnectionLimits } from "./types.ts";

/** The pool as its connections see it. */
export interface ConnectionPool {
  readonly limits: HeadLimits;
  /** The exchange is over and another may follow. */
  release(connection: ClientConnection): void;
  /** The connection is gone, or handed to another owner; `call` deserves another one. */
  remove(connection: ClientConnection, call: ClientCall | undefined): void;
}

// A peer that sends interim responses for ever must not hold a call for ever.
const interimMax = 32;

/** One kept-alive connection to a server: one exchange at a time. */
export class ClientConnection implements SocketOwner, BodySource {
  /** When it became idle, on the pool's clock. */
  idleSince = 0;
  requests = 0;
  /** What the last request asked for. */
  limits: ConnectionLimits | undefined = undefined;
  readonly socket: Socket;
  private readonly out: Outlet;
  private readonly pool: ConnectionPool;
  private readonly parser: HeadParser;
  private readonly untap: () => void;
  private call: ClientCall | undefined = undefined;
  private receiver: BodyReceiver | undefined = undefined;
  private writer: BodyWriter | undefined = undefined;
  private isPersistent = true;
  private isReused = false;
  private hasAnswered = false;
  private isOver = false;
  private interims = 0;
  private failure: Error | undefined = undefined;

  constructor(socket: Socket, pool: ConnectionPool) {
    this.socket = socket;
    this.out = new Outlet(socket, () => this.onDrain());
    this.pool = pool;
    this.parser = new HeadParser("response", pool.limits, parseStatusLine);
    this.untap = tapSocket(socket, this);
  }

  /** Whether another request may be sent. */
  get isUsable(): boolean {
    return !this.isOver && !this.call && !this.socket.destroyed;
  }

  /** The call under way. */
  get current(): ClientCall | undefined {
    return this.call;
  }

  send(call: ClientCall): void {
    const { prepared } = call;
    this.call = call;
    this.requests++;
    this.limits = call.limits;
    call.connection = this;
    this.hasAnswered = false;
    this.interims = 0;
    this.isPersistent = !prepared.closes;
    if (prepared.bytes) {
      writeMessage(this.out, prepared.head, prepared.bytes);
      return;
    }
    const writer = new BodyWriter(this.out, prepared.length, { done: (error) => this.requestSent(error) });
    this.writer = writer;
    this.out.cork();
    this.out.write(prepared.head, "latin1");
    writer.start(prepared.stream as AsyncIterable<Uint8Array>);
    process.nextTick(() => this.out.uncork());
  }

  /** The caller has lost interest: what is under way cannot be taken back, so the connection goes. */
  abandon(error: Error): void {
    this.failure ??= error;
    this.receiver?.body.fail(aborted(error));
    this.receiver = undefined;
    this.socket.destroy();
  }

  // ---- from the socket

  onData(chunk: Buffer): boolean {
    try {
      this.consume(chunk);
    } catch (error) {
      if (!(error instanceof HttpParseError)) throw error;
      this.abandon(error);
    }
    return !this.receiver?.isFull;
  }

  onEnd(): void {
    const { receiver } = this;
    if (receiver) {
      receiver.end();
      this.isPersistent = false;
      if (receiver.isComplete) this.complete();
    }
    this.socket.destroy();
  }

  onDrain(): void {
    this.writer?.drained();
  }

  onClose(error: Error | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    const cause = this.failure ?? error;
    const { call, receiver, writer } = this;
    this.call = undefined;
    this.writer = undefined;
    writer?.cancel();
    receiver?.body.fail(aborted(cause));
    if (!call) {
      this.pool.remove(this, undefined);
      return;
    }
    const isAgain = this.isReused && !this.hasAnswered && call.isReplayable && !call.isSettled;
    if (isAgain) call.isReplayable = false;
    else call.fail(lost(cause, this.hasAnswered));
    this.pool.remove(this, isAgain ? call : undefined);
  }

  // ---- from the response body

  wanted(): void {}

  readMore(): void {
    if (!this.receiver?.isFull) return;
    this.receiver.isFull = false;
    readOn(this.socket);
  }

  dropped(): void {
    this.socket.destroy();
  }

  // ---- input

  private consume(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.isOver) {
      if (this.receiver) at = this.receive(this.receiver, chunk, at);
      else if (this.call) at = this.readHead(this.call, chunk, at);
      else {
        // Bytes nobody asked for: whatever answers next could be a stranger's.
        this.socket.destroy();
        return;
      }
    }
  }

  private readHead(call: ClientCall, chunk: Buffer, at: number): number {
    this.hasAnswered = true;
    const end = this.parser.feed(chunk, at);
    if (end === -1) return chunk.length;
    const head = this.parser.take();
    const line = parseStatusLine(head);
    const controls = readControls(head);
    if (line.status === 101) return this.upgrade(call, head, line, chunk, end);
    if (line.status < 200) {
      if (++this.interims > interimMax) throw new HttpParseError("too many interim responses");
      return end;
    }
    return this.readResponse(call, head, line, controls, chunk, end);
  }

  private readResponse(
    call: ClientCall,
    head: MessageHead,
    line: StatusLine,
    controls: Controls,
    chunk: Buffer,
    at: number,
  ): number {
    const length = responseLength(controls, line.minor, call.method, line.status);
    this.isPersistent &&= isPersistent(controls, line.minor) && length !== UNTIL_CLOSE;
    if (length === 0) {
      call.answer(new Answer(head, line, noBody));
      this.complete();
      return at;
    }
    if (length > 0 && length <= chunk.length - at) {
      call.answer(new Answer(head, line, new WholeBody(chunk.subarray(at, at + length))));
      this.complete();
      return at + length;
    }
    const receiver = new BodyReceiver(length, this.pool.limits, this);
    this.receiver = receiver;
    const end = this.receive(receiver, chunk, at);
    call.answer(new Answer(head, line, receiver.body));
    return end;
  }

  private upgrade(call: ClientCall, head: MessageHead, line: StatusLine, chunk: Buffer, end: number): number {
    if (!call.prepared.asksUpgrade || this.writer) throw new HttpParseError("unexpected 101 response");
    const { socket } = this;
    this.isOver = true;
    this.call = undefined;
    this.untap();
    this.pool.remove(this, undefined);
    call.finish();
    call.answer(new Answer(head, line, noBody, { socket, head: chunk.subarray(end) }));
    return chunk.length;
  }

  private receive(receiver: BodyReceiver, chunk: Buffer, at: number): number {
    const end = at < chunk.length ? receiver.feed(chunk, at) : at;
    if (receiver.isComplete) this.complete();
    return end;
  }

  /** The response is here; the connection is kept when nothing is left over on it. */
  private complete(): void {
    const { call } = this;
    this.call = undefined;
    this.receiver = undefined;
    this.isReused = true;
    call?.finish();
    const isRequestUnsent = this.writer !== undefined;
    if (isRequestUnsent || !this.isPersistent) this.socket.destroy();
    else this.pool.release(this);
  }

  private requestSent(error: Error | undefined): void {
    this.writer = undefined;
    if (error) this.abandon(error);
  }
}

function lost(cause: Error | undefined, hasAnswered: boolean): Error {
  if (cause instanceof HttpParseError) return cause;
  const detail = cause ? `: ${cause.message}` : "";
  return new ConnectionLost(`connection closed before the response${detail}`, hasAnswered, { cause });
}
