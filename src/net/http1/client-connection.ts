import type { Socket } from "node:net";
import { Answer } from "./answer.ts";
import { aborted, type BodySource, IncomingBody, noBody } from "./body.ts";
import { BodyWriter } from "./body-writer.ts";
import { ChunkedDecoder } from "./chunked.ts";
import type { ClientCall } from "./client-call.ts";
import {
  CHUNKED,
  type Controls,
  isPersistent,
  readControls,
  responseLength,
  UNTIL_CLOSE,
} from "./controls.ts";
import { ConnectionLost, HttpParseError } from "./errors.ts";
import { type HeadLimits, HeadParser, type MessageHead } from "./head.ts";
import { writeMessage } from "./head-writer.ts";
import { readOn, type SocketOwner, tapSocket } from "./socket-tap.ts";
import { parseStatusLine, type StatusLine } from "./start-line.ts";

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
  readonly socket: Socket;
  private readonly pool: ConnectionPool;
  private readonly parser: HeadParser;
  private readonly untap: () => void;
  private call: ClientCall | undefined = undefined;
  private body: IncomingBody | undefined = undefined;
  private bodyLeft = 0;
  private decoder: ChunkedDecoder | undefined = undefined;
  private isBodyFull = false;
  private writer: BodyWriter | undefined = undefined;
  private isPersistent = true;
  private isReused = false;
  private hasAnswered = false;
  private isOver = false;
  private interims = 0;
  private failure: Error | undefined = undefined;

  constructor(socket: Socket, pool: ConnectionPool) {
    this.socket = socket;
    this.pool = pool;
    this.parser = new HeadParser("response", pool.limits);
    this.untap = tapSocket(socket, this);
  }

  /** Whether another request may be sent. */
  get isUsable(): boolean {
    return !this.isOver && !this.call && !this.socket.destroyed;
  }

  send(call: ClientCall): void {
    const { prepared } = call;
    this.call = call;
    call.connection = this;
    this.hasAnswered = false;
    this.interims = 0;
    this.isPersistent = !prepared.closes;
    if (prepared.bytes) {
      writeMessage(this.socket, prepared.head, prepared.bytes);
      return;
    }
    const writer = new BodyWriter(this.socket, prepared.length, (error) => this.requestSent(error));
    this.writer = writer;
    this.socket.cork();
    this.socket.write(prepared.head, "latin1");
    writer.start(prepared.stream as AsyncIterable<Uint8Array>);
    process.nextTick(() => this.socket.uncork());
  }

  /** The caller has lost interest: what is under way cannot be taken back, so the connection goes. */
  abandon(error: Error): void {
    this.failure ??= error;
    this.body?.fail(aborted(error));
    this.body = undefined;
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
    return !this.isBodyFull;
  }

  onEnd(): void {
    const { body } = this;
    if (body && this.bodyLeft === UNTIL_CLOSE && !this.decoder) {
      this.isPersistent = false;
      this.completeBody(body);
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
    const { call, body, writer } = this;
    this.call = undefined;
    this.writer = undefined;
    writer?.cancel();
    body?.fail(aborted(cause));
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
    if (!this.isBodyFull) return;
    this.isBodyFull = false;
    readOn(this.socket);
  }

  dropped(): void {
    this.socket.destroy();
  }

  // ---- input

  private consume(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.isOver) {
      if (this.body) at = this.receive(this.body, chunk, at);
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
    const body = new IncomingBody(length < 0 ? undefined : length, this);
    this.body = body;
    this.bodyLeft = length;
    this.decoder = length === CHUNKED ? new ChunkedDecoder(this.pool.limits) : undefined;
    const end = this.receive(body, chunk, at);
    call.answer(new Answer(head, line, body));
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

  private receive(body: IncomingBody, chunk: Buffer, at: number): number {
    if (this.decoder) {
      const end = this.decoder.feed(chunk, at, this.pushPiece);
      if (this.decoder.isDone) this.completeBody(body);
      return end;
    }
    if (this.bodyLeft === UNTIL_CLOSE) {
      if (at < chunk.length) this.pushPiece(at === 0 ? chunk : chunk.subarray(at));
      return chunk.length;
    }
    const end = Math.min(chunk.length, at + this.bodyLeft);
    this.bodyLeft -= end - at;
    if (end > at) this.pushPiece(chunk.subarray(at, end));
    if (this.bodyLeft === 0) this.completeBody(body);
    return end;
  }

  private readonly pushPiece = (piece: Buffer): boolean => {
    if (this.body?.push(piece) === false) this.isBodyFull = true;
    return true;
  };

  private completeBody(body: IncomingBody): void {
    this.body = undefined;
    this.decoder = undefined;
    this.isBodyFull = false;
    body.finish();
    this.complete();
  }

  /** The response is here; the connection is kept when nothing is left over on it. */
  private complete(): void {
    const { call } = this;
    this.call = undefined;
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
