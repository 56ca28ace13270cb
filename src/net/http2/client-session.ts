import type { Socket } from "node:net";
import { readOn, type SocketOwner, tapSocket } from "../http1/socket-tap.ts";
import { Budget } from "./budget.ts";
import { failureCode } from "./failure-code.ts";
import { FrameReader, type FrameReceiver, unpadded } from "./frame-reader.ts";
import {
  ConnectionError,
  clientPreface,
  errorCode,
  expectConnection,
  expectLength,
  expectStream,
  flag,
  frame,
  frameType,
  goawayFrame,
  numberFrame,
  setting,
  settingsFrame,
  streamIdMax,
  windowBytesMax,
  windowDefaultBytes,
} from "./frames.ts";
import { HeaderDecoder } from "./header-decoder.ts";
import type { HeaderObject } from "./header-encoder.ts";
import { Http2Stream, type StreamOwner, type StreamReceiver } from "./http2-stream.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { areTrailers, statusOf } from "./request-head.ts";
import { Sender } from "./sender.ts";
import { type StreamEnd, StreamTable } from "./stream-table.ts";

export interface SessionSettings {
  /** What requests name as their `:scheme` and `:authority`. */
  scheme: "http" | "https";
  authority: string;
  streamWindowBytes: number;
  connectionWindowBytes: number;
  /** Of an answer's head; names, values and 32 bytes for each line. */
  maxHeaderListBytes: number;
}

/** Who owns a session. Each is called at most once. */
export interface SessionOwner {
  /** The server's SETTINGS have come: it speaks HTTP/2, and its limit of streams is known. */
  onReady(): void;
  /** No more streams may be opened; those that are open go on. */
  onGoaway(): void;
  /** The connection is gone. */
  onClose(reason: string | undefined): void;
}

const nothing = Buffer.alloc(0);

/** The client's side of one HTTP/2 connection (RFC 9113), on a connected socket. Pushes are refused. */
export class ClientSession implements SocketOwner, StreamOwner, FrameReceiver {
  readonly remoteAddress: string | undefined;
  /** What the server lets be open at once. */
  concurrentStreamsMax = Number.POSITIVE_INFINITY;
  isOver = false;
  isDraining = false;
  readonly #settings: SessionSettings;
  readonly #owner: SessionOwner;
  readonly #socket: Socket;
  readonly #sender: Sender;
  readonly #reader: FrameReader;
  readonly #decoder: HeaderDecoder;
  readonly #streams = new StreamTable();
  readonly #chores = new Budget(10_000, 1000);
  readonly #pongs: (() => void)[] = [];
  readonly #window: ReceiveWindow;
  #nextId = 1;
  #isReady = false;
  #isReadingStopped = false;
  #reason: string | undefined;

  constructor(socket: Socket, settings: SessionSettings, owner: SessionOwner) {
    this.#socket = socket;
    this.#settings = settings;
    this.#owner = owner;
    this.remoteAddress = socket.remoteAddress;
    this.#window = new ReceiveWindow(settings.connectionWindowBytes);
    this.#reader = new FrameReader(this, settings.maxHeaderListBytes, false);
    this.#decoder = new HeaderDecoder(4096, settings.maxHeaderListBytes);
    const { scheme, authority } = settings;
    const first = [":scheme", scheme, ":authority", authority];
    this.#sender = new Sender(socket, () => this.#readAgain(), first);
    this.#greet(settings);
    const early = socket.read() as Buffer | null;
    tapSocket(socket, this);
    if (early !== null) this.onData(early);
    readOn(socket);
  }

  /** Sends the head of a request. Throws when no stream can be opened, and for headers that HTTP/2 can not carry. */
  open(headers: HeaderObject, receiver: StreamReceiver): Http2Stream {
    if (this.isOver || this.isDraining || this.#nextId > streamIdMax) {
      throw new Error("no more streams can be opened on this connection");
    }
    const stream = new Http2Stream(this.#nextId, this, {
      hasBody: true,
      sendWindow: this.#sender.initialWindow,
      receiveWindow: this.#settings.streamWindowBytes,
      isClient: true,
    });
    stream.receiver = receiver;
    stream.sendHead(headers);
    this.#nextId += 2;
    this.#streams.lastId = stream.id;
    this.#streams.add(stream);
    return stream;
  }

  /** Calls back when the server has answered. */
  ping(done: () => void): void {
    this.#pongs.push(done);
    this.#guarded(() => this.#sender.push(frame(frameType.ping, 0, 0, Buffer.from("keepaliv"))));
  }

  /** Ends it at once: the streams that are open are lost. */
  destroy(reason: string): void {
    this.#reason ??= reason;
    this.isDraining = true;
    this.#socket.destroy();
  }

  // ---- from the socket

  onData(chunk: Buffer): boolean {
    if (this.isOver) return true;
    this.#sender.beginBatch();
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#fail(error);
    }
    this.#sender.endBatch(true);
    this.#isReadingStopped = this.#sender.isBlocked;
    return !this.#isReadingStopped;
  }

  onEnd(): void {
    this.#reason ??= "the server closed the connection";
    this.#socket.destroy();
  }

  onDrain(): void {
    this.#sender.drained();
  }

  onClose(error: Error | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    this.isDraining = true;
    this.#streams.abandon();
    this.#owner.onClose(this.#reason ?? error?.message);
  }

  // ---- from the streams

  sendHeaders(stream: Http2Stream, headers: HeaderObject, isEnd: boolean): void {
    if (this.isOver) return;
    try {
      this.#sender.headers(stream, headers, isEnd);
    } catch (error) {
      this.#failed(error);
    }
  }

  pump(stream: Http2Stream): void {
    if (this.isOver) return;
    try {
      this.#sender.pump(stream);
    } catch (error) {
      this.#failed(error);
    }
  }

  consumed(stream: Http2Stream, bytes: number): void {
    if (stream.isRemoteEnded || stream.isClosed) return;
    stream.ungrantedBytes += bytes;
    if (stream.ungrantedBytes < this.#settings.streamWindowBytes / 2) return;
    stream.receiveWindow += stream.ungrantedBytes;
    this.#guarded(() => this.#sender.windowUpdate(stream.id, stream.ungrantedBytes));
    stream.ungrantedBytes = 0;
  }

  reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    stream.resetCode = code;
    this.#guarded(() => this.#sender.push(numberFrame(frameType.rstStream, stream.id, code)));
    this.#drop(stream, "own reset");
  }

  finished(stream: Http2Stream): void {
    this.#drop(stream, "ended");
  }

  // ---- frames

  onGreeting(): void {}

  onChore(): void {
    if (!this.#chores.spend())
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many frames that say nothing");
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case frameType.data:
        this.#data(flags, streamId, payload);
        break;
      case frameType.rstStream:
        this.#rstStream(streamId, payload);
        break;
      case frameType.settings:
        this.#takeSettings(flags, streamId, payload);
        break;
      case frameType.pushPromise:
        throw new ConnectionError(errorCode.protocolError, "pushes were refused");
      case frameType.ping:
        this.#ping(flags, streamId, payload);
        break;
      case frameType.goaway:
        this.#goaway(streamId, payload);
        break;
      case frameType.windowUpdate:
        this.#windowUpdate(streamId, payload);
        break;
      default:
    }
  }

  onHeaderBlock(streamId: number, isEnd: boolean, block: Buffer): void {
    const { lines, isTooLarge } = this.#decoder.decode(block);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) this.#late(streamId);
    else if (isTooLarge) this.reset(stream, errorCode.enhanceYourCalm);
    else if (stream.isRemoteEnded) this.reset(stream, errorCode.streamClosed);
    else if (stream.isAnswered) this.#trailers(stream, isEnd, lines);
    else this.#head(stream, isEnd, lines);
  }

  #head(stream: Http2Stream, isEnd: boolean, lines: string[]): void {
    const status = statusOf(lines);
    const isInterim = status !== undefined && status < 200;
    if (status === undefined || (isInterim && isEnd)) {
      this.reset(stream, errorCode.protocolError);
      return;
    }
    if (isInterim) {
      this.onChore();
      return;
    }
    stream.isAnswered = true;
    stream.onAnswer?.();
    stream.receiver.onHead?.(lines, isEnd);
    if (isEnd && !stream.isClosed) stream.remoteEnd();
  }

  #trailers(stream: Http2Stream, isEnd: boolean, lines: string[]): void {
    if (!isEnd || !areTrailers(lines)) {
      this.reset(stream, errorCode.protocolError);
      return;
    }
    stream.receiver.onTrailers?.(lines);
    if (!stream.isClosed) stream.remoteEnd();
  }

  #data(flags: number, streamId: number, payload: Buffer): void {
    expectStream(streamId);
    this.#takeFromWindow(payload.length);
    const body = unpadded(flags, payload);
    const isEnd = (flags & flag.endStream) !== 0;
    if (body.length === 0 && !isEnd) this.onChore();
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      this.#late(streamId);
      return;
    }
    stream.receiveWindow -= payload.length;
    if (stream.isRemoteEnded || !stream.isAnswered || stream.receiveWindow < 0) {
      this.reset(stream, stream.receiveWindow < 0 ? errorCode.flowControlError : errorCode.protocolError);
      return;
    }
    if (payload.length > body.length) this.consumed(stream, payload.length - body.length);
    if (body.length > 0) stream.receive(body);
    if (isEnd && !stream.isClosed) stream.remoteEnd();
  }

  #takeFromWindow(bytes: number): void {
    const granted = this.#window.take(bytes);
    if (granted > 0) this.#sender.windowUpdate(0, granted);
  }

  #rstStream(streamId: number, payload: Buffer): void {
    expectStream(streamId);
    expectLength(payload, payload.length === 4);
    this.#streams.expectUsed(streamId);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      if (!this.#streams.isFirstReset(streamId)) this.onChore();
      return;
    }
    stream.resetCode = payload.readUInt32BE(0);
    this.#drop(stream, "peer reset");
  }

  #takeSettings(flags: number, streamId: number, payload: Buffer): void {
    expectConnection(streamId);
    this.onChore();
    if ((flags & flag.ack) !== 0) {
      expectLength(payload, payload.length === 0);
      return;
    }
    expectLength(payload, payload.length % 6 === 0);
    for (let at = 0; at < payload.length; at += 6) {
      const id = payload.readUInt16BE(at);
      const value = payload.readUInt32BE(at + 2);
      if (id === setting.maxConcurrentStreams) this.concurrentStreamsMax = value;
      else this.#sender.set(id, value, this.#streams.all());
    }
    this.#sender.push(frame(frameType.settings, flag.ack, 0, nothing));
    for (const stream of this.#streams.all()) if (stream.pendingBytes > 0) this.#sender.pump(stream);
    if (this.#isReady) return;
    this.#isReady = true;
    this.#owner.onReady();
  }

  #ping(flags: number, streamId: number, payload: Buffer): void {
    expectConnection(streamId);
    expectLength(payload, payload.length === 8);
    if ((flags & flag.ack) !== 0) {
      const answered = this.#pongs.shift();
      if (answered === undefined) this.onChore();
      else answered();
      return;
    }
    // Servers measure the line with a ping for what they read.
    if (!this.#sender.takeHasSentData()) this.onChore();
    this.#sender.push(frame(frameType.ping, flag.ack, 0, payload));
  }

  /** Streams behind the last one that the server names were not looked at: they count as refused. */
  #goaway(streamId: number, payload: Buffer): void {
    expectConnection(streamId);
    expectLength(payload, payload.length >= 8);
    const lastId = payload.readUInt32BE(0) & streamIdMax;
    const isFirst = !this.isDraining;
    this.isDraining = true;
    this.#reason ??= `the server said GOAWAY with code ${payload.readUInt32BE(4)}`;
    if (isFirst) this.#owner.onGoaway();
    else this.onChore();
    for (const stream of [...this.#streams.all()]) {
      if (stream.id <= lastId) continue;
      stream.resetCode = errorCode.refusedStream;
      this.#drop(stream, "peer reset");
    }
    if (this.#streams.size === 0) this.#sender.end();
    else this.#streams.onEmpty = () => this.#sender.end();
  }

  #windowUpdate(streamId: number, payload: Buffer): void {
    expectLength(payload, payload.length === 4);
    const bytes = payload.readUInt32BE(0) & windowBytesMax;
    if (streamId === 0) {
      if (bytes === 0) throw new ConnectionError(errorCode.protocolError, "a window grows by nothing");
      this.#sender.grant(bytes);
      return;
    }
    this.#streams.expectUsed(streamId);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    stream.sendWindow += bytes;
    if (bytes === 0) this.reset(stream, errorCode.protocolError);
    else if (stream.sendWindow > windowBytesMax) this.reset(stream, errorCode.flowControlError);
    else this.#sender.pump(stream);
  }

  // ---- ends

  #drop(stream: Http2Stream, end: StreamEnd): void {
    this.#sender.forget(stream);
    this.#streams.end(stream, end);
  }

  #late(streamId: number): void {
    if (this.#streams.isResetDue(streamId, errorCode.streamClosed))
      this.#sender.push(numberFrame(frameType.rstStream, streamId, errorCode.streamClosed));
  }

  #fail(error: unknown): void {
    if (this.isOver) return;
    this.#reason ??= error instanceof Error ? error.message : String(error);
    this.isDraining = true;
    this.#reader.isStopped = true;
    const code = failureCode(error);
    try {
      this.#sender.push(goawayFrame(0, code));
    } catch {
      // The peer does not read, so it will not miss it.
    }
    this.#sender.end();
  }

  #guarded(send: () => void): void {
    if (this.isOver) return;
    try {
      send();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (!(error instanceof ConnectionError)) throw error;
    this.#fail(error);
  }

  #readAgain(): void {
    if (!this.#isReadingStopped || this.isOver) return;
    this.#isReadingStopped = false;
    readOn(this.#socket);
  }

  #greet({ streamWindowBytes, connectionWindowBytes, maxHeaderListBytes }: SessionSettings): void {
    this.#sender.push(clientPreface);
    this.#sender.push(
      settingsFrame([
        [setting.enablePush, 0],
        [setting.initialWindowSize, streamWindowBytes],
        [setting.maxHeaderListSize, maxHeaderListBytes],
      ]),
    );
    this.#sender.windowUpdate(0, connectionWindowBytes - windowDefaultBytes);
  }
}
