import type { Socket } from "node:net";
import { aborted, type BodySource, type IncomingBody, noBody, readyBytes, WholeBody } from "./body.ts";
import { BodyReceiver } from "./body-receiver.ts";
import { BodyWriter } from "./body-writer.ts";
import { readControls, requestLength } from "./controls.ts";
import { BodyAborted, HttpParseError, InvalidMessage } from "./errors.ts";
import { Exchange } from "./exchange.ts";
import { type HeadLimits, HeadParser } from "./head.ts";
import { writeMessage, writeText } from "./message-writer.ts";
import { Outlet } from "./outlet.ts";
import { isHttp2 } from "./preface.ts";
import { abandon, plainReply, refusal } from "./reply.ts";
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

const nothing = Buffer.alloc(0);
const lingerMs = 5_000;

/** One client connection: requests in order, one handled at a time, each answered before the next is parsed. */
export class ServerConnection implements SocketOwner, BodySource {
  /** When the sweep calls `expire`, on the host's clock; 0 for never. */
  deadline: number;
  readonly socket: Socket;
  private readonly out: Outlet;
  private readonly host: ConnectionHost;
  private readonly limits: HeadLimits;
  private readonly parser: HeadParser;
  private readonly untap: () => void;
  private lingerLeft = 0;
  /** The request being handled or answered. */
  private exchange: Exchange | undefined = undefined;
  /** The request body that is still arriving. */
  private receiver: BodyReceiver | undefined = undefined;
  private writer: BodyWriter | undefined = undefined;
  /** Bytes behind the current request; also the start of a possible HTTP/2 preface. */
  private held: Buffer = nothing;
  private isFirst: boolean;
  private isConsuming = false;
  private isCorked = false;
  private isStopped = false;
  private isEnded = false;
  private isLingering = false;
  private isOver = false;
  private awaitsDrain = false;
  private hostValue: string | undefined = undefined;

  constructor(socket: Socket, host: ConnectionHost) {
    this.socket = socket;
    this.out = new Outlet(socket, () => this.onDrain());
    this.host = host;
    const { maxHeaderBytes, maxFields } = host.settings;
    this.limits = { maxBytes: maxHeaderBytes, maxFields };
    this.parser = new HeadParser("request", this.limits, parseRequestLine);
    this.isFirst = host.settings.onHttp2 !== undefined;
    this.deadline = host.now + host.settings.headTimeoutMs;
    this.untap = tapSocket(socket, this);
  }

  get address(): string {
    const { remoteAddress = "" } = this.socket;
    return remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress;
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
    // A client that has only closed its sending side cannot be told from one that is gone: as nginx does, nothing
    // more is streamed to it, but a reply that comes in one piece is.
    if (this.writer) this.socket.destroy();
    else if (this.isLingering || this.receiver || !this.exchange) this.out.endAndDestroy();
    else this.exchange.abort();
  }

  onDrain(): void {
    if (!this.writer && !this.awaitsDrain) return;
    this.deadline = 0;
    this.writer?.drained();
    if (!this.awaitsDrain) return;
    this.awaitsDrain = false;
    if (this.exchange?.closes) this.shutdown();
    else this.endExchange();
  }

  onClose(error: Error | undefined): void {
    this.isOver = true;
    this.exchange?.abort();
    this.receiver?.body.fail(aborted(error));
    this.writer?.cancel();
    this.host.release(this, undefined);
  }

  // ---- from the server

  /** The sweep has found `deadline` in the past. */
  expire(): void {
    this.deadline = 0;
    const isHalfHead = !this.exchange && !(this.parser.isFresh && this.held.length === 0);
    const isStalledUpload = this.receiver !== undefined && !this.exchange?.isReplied;
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
    this.out.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
  }

  readMore(): void {
    if (this.receiver) this.receiver.isFull = false;
    this.readOn();
  }

  dropped(): void {
    this.receiver?.drain(this.host.settings.drainBytesMax);
    this.readOn();
  }

  // ---- input

  private mayRead(): boolean {
    return !this.receiver?.isFull && this.held.length < this.host.settings.pipelinedBytesMax;
  }

  private readOn(): void {
    if (!this.isStopped || !(this.isLingering || this.mayRead())) return;
    this.isStopped = false;
    readOn(this.socket);
  }

  /** Whether the bytes so far may still become, or were, an HTTP/2 preface. */
  private heldBack(chunk: Buffer): boolean {
    const bytes = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
    const verdict = isHttp2(bytes);
    this.held = verdict === "perhaps" ? bytes : nothing;
    this.isFirst = verdict !== false;
    if (verdict === true) this.handOver((socket) => this.host.settings.onHttp2?.(socket), bytes);
    if (verdict === false) this.consume(bytes);
    return verdict !== false;
  }

  private hold(chunk: Buffer, from: number): void {
    if (from === chunk.length) return;
    const rest = from === 0 ? chunk : chunk.subarray(from);
    this.held = this.held.length === 0 ? rest : Buffer.concat([this.held, rest]);
  }

  private consume(first: Buffer): void {
    this.isConsuming = true;
    try {
      let chunk = first;
      while (chunk.length > 0) {
        this.consumeChunk(chunk);
        // A finished exchange may have left bytes behind it that were kept from its handler.
        const mayGoOn = !this.exchange && !this.isLingering && !this.isOver;
        chunk = mayGoOn ? this.held : nothing;
        if (mayGoOn) this.held = nothing;
      }
    } catch (error) {
      if (!(error instanceof HttpParseError)) throw error;
      this.refuse(error);
    } finally {
      this.isConsuming = false;
      if (this.isCorked) {
        this.isCorked = false;
        this.out.uncork();
      }
    }
  }

  private consumeChunk(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.isLingering && !this.isOver) {
      if (this.receiver) at = this.receive(this.receiver, chunk, at);
      else if (this.exchange) {
        this.hold(chunk, at);
        return;
      } else {
        this.corkPipeline(at);
        at = this.readHead(chunk, at);
      }
    }
  }

  /** Replies to requests that came together leave together. */
  private corkPipeline(at: number): void {
    if (at === 0 || this.isCorked) return;
    this.isCorked = true;
    this.out.cork();
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
      // Bytes behind a request to change protocols may belong to the new one.
      if (controls.hasUpgrade) this.hold(chunk, end);
      this.dispatch(new Exchange(head, line, controls, noBody, this));
      return controls.hasUpgrade ? chunk.length : end;
    }
    if (length > 0 && length <= chunk.length - end) {
      const body = new WholeBody(chunk.subarray(end, end + length));
      this.dispatch(new Exchange(head, line, controls, body, this));
      return end + length;
    }
    const receiver = new BodyReceiver(length, this.limits, this);
    this.receiver = receiver;
    const next = this.receive(receiver, chunk, end);
    const exchange = new Exchange(head, line, controls, receiver.body, this);
    if (next > end) exchange.awaitsContinue = false;
    this.dispatch(exchange);
    return next;
  }

  private receive(receiver: BodyReceiver, chunk: Buffer, at: number): number {
    const { exchange } = this;
    const end = at < chunk.length ? receiver.feed(chunk, at) : at;
    if (receiver.isComplete) {
      this.receiver = undefined;
      this.deadline = 0;
      if (exchange?.isSent) this.endExchange();
    } else if (receiver.isOverdrained) {
      // Too much to throw away: the rest stays unread, and the connection ends with the reply.
      this.deadline = 0;
      if (exchange) exchange.closes = true;
      if (exchange?.isSent) this.shutdown();
    } else if (receiver.isFull) this.deadline = 0;
    else this.startStallTimer();
    return end;
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
      // Thrown before a byte was written: the reply was not one that can be sent.
      abandon(reply);
      exchange.isReplied = exchange.isSent;
      if (exchange.isSent) this.socket.destroy();
      this.fail(exchange, error);
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
    const { receiver } = this;
    const isUndrainable = receiver?.isLongerThan(host.settings.drainBytesMax) || receiver?.isOverdrained;
    const isBodyPending = receiver !== undefined && (exchange.awaitsContinue || isUndrainable);
    const isLast = host.isClosing || (this.isEnded && this.held.length === 0);
    const head = replyHead(reply, size, {
      method: exchange.method,
      minor: exchange.minor,
      closes: exchange.closes || isBodyPending === true || isLast,
      sendsDate: host.settings.sendsDate,
    });
    exchange.closes = head.closes;
    return head;
  }

  private sendText(exchange: Exchange, reply: HttpReply, text: string): void {
    const size = Buffer.byteLength(text);
    if (size !== text.length) {
      this.sendBytes(exchange, reply, Buffer.from(text));
      return;
    }
    const head = this.headFor(exchange, reply, size);
    this.sent(exchange, writeText(this.out, head.text, head.hasBody ? text : ""));
  }

  private sendBytes(exchange: Exchange, reply: HttpReply, bytes: Uint8Array): void {
    const head = this.headFor(exchange, reply, bytes.length);
    if (reply.status === 101) this.switchProtocols(exchange, reply, head.text);
    else this.sent(exchange, writeMessage(this.out, head.text, head.hasBody ? bytes : nothing));
  }

  private sendStream(exchange: Exchange, reply: HttpReply, body: AsyncIterable<Uint8Array>): void {
    const { out, socket } = this;
    const head = this.headFor(exchange, reply, undefined);
    if (!head.hasBody) {
      abandon(reply);
      this.sent(exchange, writeText(out, head.text, ""));
      return;
    }
    const writer = new BodyWriter(out, head.length, {
      done: (error) => {
        this.writer = undefined;
        if (error) socket.destroy();
        else this.sent(exchange, out.hasRoom);
      },
      stalled: () => this.startStallTimer(),
    });
    this.writer = writer;
    // The head leaves together with what the body has at once, and not later than this turn.
    out.cork();
    out.write(head.text, "latin1");
    writer.start(body);
    process.nextTick(() => out.uncork());
  }

  private startStallTimer(): void {
    this.deadline = this.host.now + this.host.settings.stallTimeoutMs;
  }

  private switchProtocols(exchange: Exchange, reply: HttpReply, head: string): void {
    const { takeOver } = reply;
    if (!takeOver) throw new InvalidMessage("a 101 reply without takeOver");
    if (this.receiver || !exchange.asksUpgrade) throw new InvalidMessage("a 101 reply to a plain request");
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
    if (!hasRoom) {
      this.awaitsDrain = true;
      this.startStallTimer();
    } else if (exchange.closes) this.shutdown();
    if (exchange.closes) return;
    this.giveUpBody();
    this.endExchange();
  }

  /** The reply is out and the request's rest is still to come: read past it, within bounds. */
  private giveUpBody(): void {
    const { receiver } = this;
    if (!receiver) return;
    if (!receiver.isUnwanted) receiver.drain(this.host.settings.drainBytesMax);
    receiver.body.fail(new BodyAborted("the reply was sent before the body had been read"));
    this.deadline = this.host.now + lingerMs;
    this.readOn();
  }

  private endExchange(): void {
    if (this.receiver || this.awaitsDrain || this.isLingering) return;
    this.exchange = undefined;
    const isLast = this.host.isClosing || this.isEnded;
    if (isLast && (this.host.isClosing || this.held.length === 0)) {
      this.shutdown();
      return;
    }
    this.deadline = this.host.now + this.host.settings.keepAliveTimeoutMs;
    if (this.isConsuming) return;
    const { held } = this;
    this.held = nothing;
    this.consume(held);
    this.readOn();
  }

  /** Answers what is not valid HTTP, and ends the connection. */
  private refuse(error: HttpParseError): void {
    const { exchange, receiver } = this;
    this.receiver = undefined;
    receiver?.body.fail(error);
    exchange?.abort();
    if (exchange?.isReplied) {
      this.socket.destroy();
      return;
    }
    if (exchange) exchange.isReplied = true;
    writeText(this.out, refusal(error), "");
    this.shutdown();
  }

  /** Says goodbye without a reset that would tear the reply from a peer still sending (RFC 9112 §9.6). */
  private shutdown(): void {
    if (this.isLingering || this.isOver) return;
    this.isLingering = true;
    this.held = nothing;
    this.receiver?.body.fail(aborted(undefined));
    this.receiver = undefined;
    if (this.isEnded) {
      this.out.endAndDestroy();
      return;
    }
    this.out.end();
    this.lingerLeft = this.host.settings.drainBytesMax;
    this.deadline = this.host.now + lingerMs;
    this.readOn();
  }

  private linger(chunk: Buffer): boolean {
    this.lingerLeft -= chunk.length;
    if (this.lingerLeft < 0) this.socket.destroy();
    return this.lingerLeft >= 0;
  }
}
