import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { aborted, type BodySource, IncomingBody, noBody, readyBytes } from "./body.ts";
import { BodyWriter } from "./body-writer.ts";
import { ChunkedDecoder } from "./chunked.ts";
import { CHUNKED, readControls, requestLength } from "./controls.ts";
import { HttpParseError, InvalidMessage } from "./errors.ts";
import { Exchange } from "./exchange.ts";
import { HeadParser } from "./head.ts";
import { writeMessage } from "./head-writer.ts";
import { type ReplyHead, replyHead } from "./reply-head.ts";
import type { ServerSettings } from "./server-options.ts";
import { readOn, type SocketOwner, tapSocket } from "./socket-tap.ts";
import { checkHost, parseRequestLine } from "./start-line.ts";
import type { HttpReply } from "./types.ts";

/** The server as its connections see it. */
export interface ConnectionHost {
  readonly settings: ServerSettings;
  /** Milliseconds, as of the last sweep. */
  readonly now: number;
  readonly isClosing: boolean;
  /** The connection is over, or its socket has got another owner. */
  release(connection: ServerConnection, handedOver: Socket | undefined): void;
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const nothing = Buffer.alloc(0);
const lingerMs = 2_000;

/** One client connection: requests in order, one handled at a time, each answered before the next is parsed. */
export class ServerConnection implements SocketOwner, BodySource {
  /** When the sweep calls `expire`, on the host's clock; 0 for never. */
  deadline: number;
  private readonly socket: Socket;
  private readonly host: ConnectionHost;
  private readonly parser: HeadParser;
  private readonly untap: () => void;
  private readonly address = (): string => this.socket.remoteAddress ?? "";
  /** The request being handled or answered. */
  private exchange: Exchange | undefined = undefined;
  /** The request body that is still arriving. */
  private body: IncomingBody | undefined = undefined;
  private bodyLeft = 0;
  private decoder: ChunkedDecoder | undefined = undefined;
  private drainLeft = 0;
  private isBodyUnwanted = false;
  private isBodyFull = false;
  private writer: BodyWriter | undefined = undefined;
  /** Bytes behind the current request; also the start of a possible HTTP/2 preface. */
  private held: Buffer = nothing;
  private isFirst: boolean;
  private isConsuming = false;
  private isStopped = false;
  private isEnded = false;
  private isLingering = false;
  private isOver = false;
  private awaitsDrain = false;
  private hostValue: string | undefined = undefined;

  constructor(socket: Socket, host: ConnectionHost) {
    this.socket = socket;
    this.host = host;
    const { maxHeaderBytes, maxFields } = host.settings;
    this.parser = new HeadParser("request", { maxBytes: maxHeaderBytes, maxFields });
    this.isFirst = host.settings.onHttp2 !== undefined;
    this.deadline = host.now + host.settings.headTimeoutMs;
    this.untap = tapSocket(socket, this);
  }

  // ---- from the socket

  onData(chunk: Buffer): boolean {
    if (this.isLingering) return this.linger(chunk);
    if (this.isFirst) {
      if (this.heldBack(chunk)) return true;
    } else if (this.held.length > 0) this.hold(chunk, 0);
    else this.consume(chunk);
    this.isStopped = !this.mayRead();
    return !this.isStopped;
  }

  onEnd(): void {
    this.isEnded = true;
    if (this.isLingering || this.body || this.writer || !this.exchange) this.socket.destroySoon();
    else this.exchange.abort();
  }

  onDrain(): void {
    this.deadline = 0;
    this.writer?.drained();
    if (this.awaitsDrain) {
      this.awaitsDrain = false;
      this.endExchange();
    }
  }

  onClose(error: Error | undefined): void {
    this.isOver = true;
    this.exchange?.abort();
    this.body?.fail(aborted(error));
    this.writer?.cancel();
    this.host.release(this, undefined);
  }

  // ---- from the server

  /** The sweep has found `deadline` in the past. */
  expire(): void {
    this.deadline = 0;
    const isHalfHead = !this.exchange && !(this.parser.isFresh && this.held.length === 0);
    const isStalledUpload = this.body !== undefined && !this.exchange?.isReplied;
    if (isHalfHead || isStalledUpload) this.refuse(new HttpParseError("request took too long", 408));
    else this.socket.destroy();
  }

  /** The server closes: idle connections end now, others with their reply. */
  retire(): void {
    if (this.exchange) this.exchange.closes = true;
    else this.shutdown();
  }

  destroy(): void {
    this.socket.destroy();
  }

  // ---- from the request body

  wanted(): void {
    const { exchange } = this;
    if (!exchange?.awaitsContinue || exchange.isReplied) return;
    exchange.awaitsContinue = false;
    this.socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
  }

  readMore(): void {
    this.isBodyFull = false;
    this.readOn();
  }

  dropped(): void {
    this.isBodyUnwanted = true;
    this.drainLeft = this.host.settings.drainBytesMax;
    this.readMore();
  }

  // ---- input

  private mayRead(): boolean {
    return !this.isBodyFull && this.held.length < this.host.settings.pipelinedBytesMax;
  }

  private readOn(): void {
    if (!this.isStopped || !(this.isLingering || this.mayRead())) return;
    this.isStopped = false;
    readOn(this.socket);
  }

  /** Whether the bytes so far may still become, or were, an HTTP/2 preface. */
  private heldBack(chunk: Buffer): boolean {
    const bytes = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
    const known = Math.min(bytes.length, preface.length);
    this.held = nothing;
    if (bytes.compare(preface, 0, known, 0, known) !== 0) {
      this.isFirst = false;
      this.consume(bytes);
      return false;
    }
    if (known < preface.length) this.held = bytes;
    else this.handOver((socket) => this.host.settings.onHttp2?.(socket), bytes);
    return true;
  }

  private hold(chunk: Buffer, from: number): void {
    const rest = from === 0 ? chunk : chunk.subarray(from);
    this.held = this.held.length === 0 ? rest : Buffer.concat([this.held, rest]);
  }

  private consume(chunk: Buffer): void {
    let at = 0;
    let isCorked = false;
    this.isConsuming = true;
    try {
      while (at < chunk.length && !this.isLingering && !this.isOver) {
        if (this.body) at = this.receive(this.body, chunk, at);
        else if (this.exchange) {
          this.hold(chunk, at);
          break;
        } else {
          if (at > 0 && !isCorked) {
            isCorked = true;
            this.socket.cork();
          }
          at = this.readHead(chunk, at);
        }
      }
    } catch (error) {
      if (!(error instanceof HttpParseError)) throw error;
      this.refuse(error);
    } finally {
      this.isConsuming = false;
      if (isCorked) this.socket.uncork();
    }
  }

  private readHead(chunk: Buffer, at: number): number {
    const isFresh = this.parser.isFresh;
    const end = this.parser.feed(chunk, at);
    if (end === -1) {
      if (isFresh) this.deadline = this.host.now + this.host.settings.headTimeoutMs;
      return chunk.length;
    }
    this.deadline = 0;
    const head = this.parser.take();
    const controls = readControls(head);
    const line = parseRequestLine(head);
    if (controls.host === undefined || controls.host !== this.hostValue || !line.target.startsWith("/")) {
      checkHost(controls.host, line);
      this.hostValue = controls.host;
    }
    const length = requestLength(controls, line.minor);
    if (controls.expect !== undefined && controls.expect !== "100-continue") {
      throw new HttpParseError("unknown expectation", 417);
    }
    if (length === 0) {
      this.dispatch(new Exchange(head, line, controls, noBody, this.address));
      return end;
    }
    const body = this.expectBody(length);
    const next = this.receive(body, chunk, end);
    const exchange = new Exchange(head, line, controls, body, this.address);
    if (next > end) exchange.awaitsContinue = false;
    this.dispatch(exchange);
    return next;
  }

  private expectBody(length: number): IncomingBody {
    const { maxHeaderBytes, maxFields } = this.host.settings;
    this.isBodyUnwanted = false;
    this.bodyLeft = length;
    this.decoder =
      length === CHUNKED ? new ChunkedDecoder({ maxBytes: maxHeaderBytes, maxFields }) : undefined;
    this.body = new IncomingBody(length === CHUNKED ? undefined : length, this);
    return this.body;
  }

  private receive(body: IncomingBody, chunk: Buffer, at: number): number {
    let end: number;
    let isComplete: boolean;
    if (this.decoder) {
      end = this.decoder.feed(chunk, at, this.pushPiece);
      isComplete = this.decoder.isDone;
    } else {
      end = Math.min(chunk.length, at + this.bodyLeft);
      this.bodyLeft -= end - at;
      if (end > at) this.pushPiece(chunk.subarray(at, end));
      isComplete = this.bodyLeft === 0;
    }
    if (isComplete) this.completeBody(body);
    else this.deadline = this.isBodyFull ? 0 : this.host.now + this.host.settings.stallTimeoutMs;
    return end;
  }

  private readonly pushPiece = (piece: Buffer): boolean => {
    if (!this.isBodyUnwanted) {
      if (this.body?.push(piece) === false) this.isBodyFull = true;
      return true;
    }
    this.drainLeft -= piece.length;
    if (this.drainLeft >= 0) return true;
    // Too much to throw away: what is left is not read, and the connection ends with the reply.
    if (this.exchange) this.exchange.closes = true;
    this.isBodyFull = true;
    if (this.exchange?.isSent) this.shutdown();
    return true;
  };

  private completeBody(body: IncomingBody): void {
    this.body = undefined;
    this.decoder = undefined;
    this.isBodyFull = false;
    this.deadline = 0;
    body.finish();
    if (this.exchange?.isSent) this.endExchange();
  }

  // ---- output

  private dispatch(exchange: Exchange): void {
    this.exchange = exchange;
    try {
      const outcome = this.host.settings.handler(exchange);
      if (outcome instanceof Promise) {
        outcome.then(
          (reply) => this.reply(exchange, reply),
          (error: unknown) => this.fail(exchange, error),
        );
      } else this.reply(exchange, outcome);
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  private fail(exchange: Exchange, error: unknown): void {
    // A handler cut short because its client left has not failed.
    if (this.exchange !== exchange || exchange.isReplied || this.isOver) return;
    this.reply(exchange, plainReply(500));
    this.host.settings.onHandlerError?.(error, exchange);
  }

  private reply(exchange: Exchange, reply: HttpReply): void {
    if (this.exchange !== exchange || exchange.isReplied || this.isOver) {
      abandon(reply);
      return;
    }
    exchange.isReplied = true;
    try {
      this.send(exchange, reply);
    } catch (error) {
      abandon(reply);
      exchange.isReplied = false;
      if (error instanceof InvalidMessage) this.fail(exchange, error);
      else throw error;
    }
  }

  private send(exchange: Exchange, reply: HttpReply): void {
    const { body } = reply;
    if (body === undefined) this.sendBytes(exchange, reply, nothing);
    else if (typeof body === "string") this.sendText(exchange, reply, body);
    else if (body instanceof Uint8Array) this.sendBytes(exchange, reply, body);
    else {
      const bytes = "bytes" in body ? readyBytes(body as IncomingBody) : undefined;
      if (bytes) this.sendBytes(exchange, reply, bytes);
      else this.sendStream(exchange, reply, body);
    }
  }

  private headFor(exchange: Exchange, reply: HttpReply, size: number | undefined): ReplyHead {
    const { host } = this;
    // A client that was never told to continue may or may not send the body: the connection cannot go on.
    const isBodyPending = this.body !== undefined && (exchange.awaitsContinue || this.isUndrainable());
    const isLast = host.isClosing || (this.isEnded && this.held.length === 0);
    const head = replyHead(reply, size, {
      method: exchange.method,
      minor: exchange.minor,
      closes: exchange.closes || isBodyPending || isLast,
      sendsDate: host.settings.sendsDate,
    });
    exchange.closes = head.closes;
    return head;
  }

  private isUndrainable(): boolean {
    return !this.decoder && this.bodyLeft > this.host.settings.drainBytesMax;
  }

  private sendText(exchange: Exchange, reply: HttpReply, text: string): void {
    const size = Buffer.byteLength(text);
    if (size !== text.length) {
      this.sendBytes(exchange, reply, Buffer.from(text));
      return;
    }
    const head = this.headFor(exchange, reply, size);
    this.sent(exchange, this.socket.write(head.hasBody ? head.text + text : head.text, "latin1"));
  }

  private sendBytes(exchange: Exchange, reply: HttpReply, bytes: Uint8Array): void {
    const head = this.headFor(exchange, reply, bytes.length);
    if (reply.status === 101) this.switchProtocols(reply, head.text);
    else this.sent(exchange, writeMessage(this.socket, head.text, head.hasBody ? bytes : nothing));
  }

  private sendStream(exchange: Exchange, reply: HttpReply, body: AsyncIterable<Uint8Array>): void {
    const { socket } = this;
    const head = this.headFor(exchange, reply, undefined);
    if (!head.hasBody) {
      abandon(reply);
      this.sent(exchange, socket.write(head.text, "latin1"));
      return;
    }
    const writer = new BodyWriter(this, head.length, (error) => {
      this.writer = undefined;
      if (error) socket.destroy();
      else this.sent(exchange, !socket.writableNeedDrain);
    });
    this.writer = writer;
    // The head leaves together with what the body has at once, and not later than this turn.
    socket.cork();
    socket.write(head.text, "latin1");
    writer.start(body);
    process.nextTick(() => socket.uncork());
  }

  // The connection stands before its socket as the writer's sink, to time a peer that does not read.
  write(data: string | Uint8Array, encoding?: BufferEncoding): boolean {
    const hasRoom = this.socket.write(data, encoding);
    if (!hasRoom) this.deadline = this.host.now + this.host.settings.stallTimeoutMs;
    return hasRoom;
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): void {
    this.socket.uncork();
  }

  private switchProtocols(reply: HttpReply, head: string): void {
    const { takeOver } = reply;
    if (!takeOver) throw new InvalidMessage("a 101 reply without takeOver");
    this.socket.write(head, "latin1");
    const early = this.held;
    this.held = nothing;
    this.handOver((socket) => takeOver(socket, early), nothing);
  }

  /** Gives the socket away as if nothing had been read from it but what is put back. */
  private handOver(receiver: (socket: Socket) => void, unread: Buffer): void {
    const { socket } = this;
    this.untap();
    this.isOver = true;
    this.deadline = 0;
    this.host.release(this, socket);
    if (unread.length > 0) socket.unshift(unread);
    if (this.isEnded) socket.push(null);
    receiver(socket);
  }

  /** The reply is with the socket; a peer that does not read holds up its next request, not our memory. */
  private sent(exchange: Exchange, hasRoom: boolean): void {
    exchange.isSent = true;
    if (exchange.closes) {
      this.shutdown();
      return;
    }
    if (!hasRoom) {
      this.awaitsDrain = true;
      this.deadline = this.host.now + this.host.settings.stallTimeoutMs;
    }
    if (this.body && !this.isBodyUnwanted) this.body.discard();
    this.endExchange();
  }

  private endExchange(): void {
    if (this.body || this.awaitsDrain || this.isLingering) return;
    this.exchange = undefined;
    const isLast = this.host.isClosing || this.isEnded;
    if (isLast && (this.host.isClosing || this.held.length === 0)) {
      this.shutdown();
      return;
    }
    this.deadline = this.host.now + this.host.settings.keepAliveTimeoutMs;
    if (this.isConsuming) return;
    const { held } = this;
    if (held.length > 0) {
      this.held = nothing;
      this.consume(held);
    }
    this.readOn();
  }

  /** Answers what is not valid HTTP, and ends the connection. */
  private refuse(error: HttpParseError): void {
    const { exchange, body } = this;
    this.body = undefined;
    body?.fail(error);
    exchange?.abort();
    if (exchange?.isReplied) {
      this.socket.destroy();
      return;
    }
    if (exchange) exchange.isReplied = true;
    const context = { method: "GET", minor: 1, closes: true, sendsDate: false };
    const reply = plainReply(error.status, error.message);
    const text = reply.body as string;
    this.socket.write(replyHead(reply, text.length, context).text + text, "latin1");
    this.shutdown();
  }

  /** Says goodbye without a reset that would tear the reply from a peer still sending (RFC 9112 §9.6). */
  private shutdown(): void {
    if (this.isLingering || this.isOver) return;
    this.isLingering = true;
    this.held = nothing;
    this.body?.fail(aborted(undefined));
    this.body = undefined;
    if (this.isEnded) {
      this.socket.destroySoon();
      return;
    }
    this.socket.end();
    this.drainLeft = this.host.settings.drainBytesMax;
    this.deadline = this.host.now + lingerMs;
    this.readOn();
  }

  private linger(chunk: Buffer): boolean {
    this.drainLeft -= chunk.length;
    if (this.drainLeft < 0) this.socket.destroy();
    return this.drainLeft >= 0;
  }
}

function plainReply(status: number, text = STATUS_CODES[status] ?? "error"): HttpReply {
  return { status, headers: ["Content-Type", "text/plain"], body: `${text}\n` };
}

/** A reply that cannot be sent: its body's producer is told. */
function abandon(reply: HttpReply | undefined): void {
  const body = reply?.body;
  if (body === undefined || typeof body === "string" || body instanceof Uint8Array) return;
  if (body instanceof IncomingBody) body.discard();
  else
    body[Symbol.asyncIterator]()
      .return?.()
      ?.then(undefined, () => {});
}
