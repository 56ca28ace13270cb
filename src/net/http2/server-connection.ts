import type { Socket } from "node:net";
import { readOn, type SocketOwner, tapSocket } from "../http1/socket-tap.ts";
import { Budget } from "./budget.ts";
import { type Draining, drain } from "./drain.ts";
import { failureCode } from "./failure-code.ts";
import { expectOther, FrameReader, type FrameReceiver, unpadded } from "./frame-reader.ts";
import {
  ConnectionError,
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
import { Http2Stream, type StreamOwner } from "./http2-stream.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { areTrailers, type RequestHead, readRequestHead } from "./request-head.ts";
import { Sender } from "./sender.ts";
import { type StreamEnd, StreamTable } from "./stream-table.ts";

export interface ConnectionSettings {
  streamWindowBytes: number;
  connectionWindowBytes: number;
  concurrentStreamsMax: number;
  /** Names, values and 32 bytes for each line, as HTTP/2 counts. */
  maxHeaderListBytes: number;
  /** Streams that the client may reset, or have us reset; ten times as many at once. Default 1,000. */
  resetsPerSecond?: number | undefined;
  /** A connection without streams ends after this; never when absent. */
  idleMs?: number | undefined;
}

/** The server as its connections see it. */
export interface ConnectionHost {
  readonly settings: ConnectionSettings;
  /** A request has come; its receiver is set before this returns. Throwing breaks the stream. */
  accept(stream: Http2Stream, head: RequestHead, connection: ServerConnection): void;
  closed(connection: ServerConnection): void;
}

/** A client has to begin to speak HTTP/2 within this. */
const handshakeMs = 10_000;
/** For a request that crosses the GOAWAY of an idle connection. */
const idleGraceMs = 1000;
const nothing = Buffer.alloc(0);

/** The server's side of one HTTP/2 connection (RFC 9113), without push and priorities. */
export class ServerConnection implements SocketOwner, StreamOwner, FrameReceiver {
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  readonly #host: ConnectionHost;
  readonly socket: Socket;
  readonly #sender: Sender;
  readonly #reader: FrameReader;
  readonly #decoder: HeaderDecoder;
  readonly #streams: StreamTable;
  readonly #chores = new Budget(10_000, 1000);
  readonly #window: ReceiveWindow;
  #isOver = false;
  /** The last stream that is served; later ones are ignored. */
  #servedMax = streamIdMax;
  #isReadingStopped = false;
  #onPong: (() => void) | undefined;
  #activeMs = performance.now();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: Socket, host: ConnectionHost) {
    const { settings } = host;
    this.#host = host;
    this.socket = socket;
    this.remoteAddress = socket.remoteAddress;
    this.remotePort = socket.remotePort;
    this.#streams = new StreamTable(settings.resetsPerSecond);
    this.#window = new ReceiveWindow(settings.connectionWindowBytes);
    this.#reader = new FrameReader(this, settings.maxHeaderListBytes);
    this.#decoder = new HeaderDecoder(4096, settings.maxHeaderListBytes);
    this.#sender = new Sender(socket, () => this.#readAgain());
    this.#timer = setTimeout(() => socket.destroy(), handshakeMs);
    this.#timer.unref?.();
    this.#greet(settings);
    const early = socket.read() as Buffer | null;
    tapSocket(socket, this);
    if (early !== null) this.onData(early);
    readOn(socket);
  }

  // ---- from the socket

  onData(chunk: Buffer): boolean {
    if (this.#isOver) return true;
    this.#sender.beginBatch();
    try {
      this.#reader.push(chunk);
    } catch (error) {
      this.#fail(error);
    }
    this.#sender.endBatch(this.#streams.size > 0);
    // Whoever does not read its answers is not read either.
    this.#isReadingStopped = this.#sender.isBlocked;
    return !this.#isReadingStopped;
  }

  onEnd(): void {
    this.#end();
  }

  onDrain(): void {
    this.#sender.drained();
  }

  onClose(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#streams.abandon();
    this.#onPong?.();
    this.#host.closed(this);
  }

  // ---- from the streams

  sendHeaders(stream: Http2Stream, headers: HeaderObject, isEnd: boolean): void {
    if (this.#isOver) return;
    try {
      this.#sender.headers(stream, headers, isEnd);
    } catch (error) {
      this.#failed(error);
    }
  }

  pump(stream: Http2Stream): void {
    if (this.#isOver) return;
    try {
      this.#sender.pump(stream);
    } catch (error) {
      this.#failed(error);
    }
  }

  consumed(stream: Http2Stream, bytes: number): void {
    if (stream.isRemoteEnded || stream.isClosed) return;
    stream.ungrantedBytes += bytes;
    if (stream.ungrantedBytes < this.#host.settings.streamWindowBytes / 2) return;
    stream.receiveWindow += stream.ungrantedBytes;
    this.#guarded(() => this.#sender.windowUpdate(stream.id, stream.ungrantedBytes));
    stream.ungrantedBytes = 0;
  }

  reset(stream: Http2Stream, code: number): void {
    if (stream.isClosed) return;
    this.#guarded(() => this.#sender.push(numberFrame(frameType.rstStream, stream.id, code)));
    this.#drop(stream, "own reset");
  }

  finished(stream: Http2Stream): void {
    this.#drop(stream, "ended");
  }

  // ---- from the server

  /** Closes without losing requests; `giveUp` ends those that are left when the grace is over. */
  drain(graceMs: number, giveUp: () => void): Promise<void> {
    return this.#isOver ? Promise.resolve() : drain(this.#draining(), graceMs, giveUp);
  }

  #draining(): Draining {
    return {
      closed: new Promise((resolve) => this.socket.once("close", () => resolve())),
      warn: () => this.#warn(),
      refuseFurther: () => this.#refuseFurther(),
      emptied: () => this.#emptied(),
      end: () => this.#end(),
      destroy: () => this.socket.destroy(),
    };
  }

  /** Resolves when the client has seen that the end is near. */
  #warn(): Promise<void> {
    return new Promise((resolve) => {
      this.#onPong = resolve;
      this.#guarded(() => {
        this.#sender.push(goawayFrame(streamIdMax, errorCode.noError));
        this.#sender.push(frame(frameType.ping, 0, 0, Buffer.from("draining")));
      });
    });
  }

  #refuseFurther(): void {
    if (this.#servedMax !== streamIdMax || this.#isOver) return;
    this.#servedMax = this.#streams.lastId;
    this.#guarded(() => this.#sender.push(goawayFrame(this.#streams.lastId, errorCode.noError)));
  }

  #emptied(): Promise<void> {
    if (this.#streams.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#streams.onEmpty = resolve;
    });
  }

  // ---- greeting, ending

  #greet({
    streamWindowBytes,
    connectionWindowBytes,
    concurrentStreamsMax,
    maxHeaderListBytes,
  }: ConnectionSettings) {
    this.#sender.push(
      settingsFrame([
        [setting.maxConcurrentStreams, concurrentStreamsMax],
        [setting.initialWindowSize, streamWindowBytes],
        [setting.maxHeaderListSize, maxHeaderListBytes],
      ]),
    );
    this.#sender.windowUpdate(0, connectionWindowBytes - windowDefaultBytes);
  }

  /** One timer for the whole connection; what happened since it was set shows when it fires. */
  #watchIdle(): void {
    const { idleMs } = this.#host.settings;
    if (idleMs === undefined || this.#isOver) return;
    const leftMs = this.#activeMs + idleMs - performance.now();
    if (this.#streams.size === 0 && leftMs <= 0) {
      void this.drain(idleGraceMs, () => {});
      return;
    }
    this.#timer = setTimeout(() => this.#watchIdle(), this.#streams.size > 0 ? idleMs : leftMs);
    this.#timer.unref?.();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#reader.isStopped = true;
    this.#sender.end();
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    const code = failureCode(error);
    try {
      this.#sender.push(goawayFrame(this.#streams.lastId, code));
    } catch {
      // The peer does not read, so it will not miss it.
    }
    this.#end();
  }

  /** What is sent for a stream may fail for the connection; a header that can not be sent is the stream's own. */
  #guarded(send: () => void): void {
    if (this.#isOver) return;
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
    if (!this.#isReadingStopped || this.#isOver) return;
    this.#isReadingStopped = false;
    readOn(this.socket);
  }

  // ---- frames

  onGreeting(): void {
    clearTimeout(this.#timer);
    this.#watchIdle();
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    switch (type) {
      case frameType.data:
        this.#data(flags, streamId, payload);
        break;
      case frameType.priority:
        this.#priority(streamId, payload);
        break;
      case frameType.rstStream:
        this.#rstStream(streamId, payload);
        break;
      case frameType.settings:
        this.#settings(flags, streamId, payload);
        break;
      case frameType.pushPromise:
        throw new ConnectionError(errorCode.protocolError, "clients do not push");
      case frameType.ping:
        this.#ping(flags, streamId, payload);
        break;
      case frameType.goaway:
        expectConnection(streamId);
        expectLength(payload, payload.length >= 8);
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
    if (stream !== undefined) this.#trailers(stream, isEnd, lines);
    else if (streamId <= this.#streams.lastId) this.#late(streamId, errorCode.protocolError);
    else if (streamId <= this.#servedMax) this.#open(streamId, isEnd, isTooLarge ? undefined : lines);
  }

  onChore(): void {
    if (!this.#chores.spend())
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many frames that say nothing");
  }

  #data(flags: number, streamId: number, payload: Buffer): void {
    expectStream(streamId);
    this.#takeFromWindow(payload.length);
    const body = unpadded(flags, payload);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      this.#late(streamId, errorCode.streamClosed);
      return;
    }
    if (stream.isRemoteEnded) {
      this.#refuseFrame(stream, errorCode.streamClosed);
      return;
    }
    stream.receiveWindow -= payload.length;
    if (stream.receiveWindow < 0) {
      this.#refuseFrame(stream, errorCode.flowControlError);
      return;
    }
    const isEnd = (flags & flag.endStream) !== 0;
    if (body.length === 0 && !isEnd) this.onChore();
    if (stream.bodyBytesLeft !== undefined) {
      stream.bodyBytesLeft -= body.length;
      if (stream.bodyBytesLeft < 0 || (isEnd && stream.bodyBytesLeft > 0)) {
        this.#refuseFrame(stream, errorCode.protocolError);
        return;
      }
    }
    if (payload.length > body.length) this.consumed(stream, payload.length - body.length);
    if (body.length > 0) stream.receive(body);
    if (isEnd && !stream.isClosed) stream.remoteEnd();
  }

  #takeFromWindow(bytes: number): void {
    const granted = this.#window.take(bytes);
    if (granted > 0) this.#sender.windowUpdate(0, granted);
  }

  /** `lines`: absent when there were too many. */
  #open(streamId: number, isEnd: boolean, lines: string[] | undefined): void {
    this.#streams.lastId = streamId;
    this.#activeMs = performance.now();
    const { settings } = this.#host;
    const stream = new Http2Stream(streamId, this, {
      hasBody: !isEnd,
      sendWindow: this.#sender.initialWindow,
      receiveWindow: settings.streamWindowBytes,
    });
    if (this.#streams.size >= settings.concurrentStreamsMax) {
      this.#refuseFrame(stream, errorCode.refusedStream);
      return;
    }
    const head = lines && readRequestHead(lines);
    if (lines !== undefined && head === undefined) {
      this.#refuseFrame(stream, errorCode.protocolError);
      return;
    }
    this.#streams.add(stream);
    if (head === undefined) {
      stream.sendHead({ ":status": 431 }, true);
      stream.stopUpload();
    } else this.#accept(stream, head, isEnd);
    if (isEnd && !stream.isClosed) stream.remoteEnd();
  }

  #accept(stream: Http2Stream, head: RequestHead, isEnd: boolean): void {
    const length = head.header("content-length");
    if (length !== undefined) {
      const bytes = /^\d{1,15}$/.test(length) ? Number(length) : -1;
      if (bytes < 0 || (isEnd && bytes > 0)) {
        this.#refuseFrame(stream, errorCode.protocolError);
        return;
      }
      stream.bodyBytesLeft = bytes;
    }
    try {
      this.#host.accept(stream, head, this);
    } catch {
      stream.reset(errorCode.internalError);
    }
  }

  #trailers(stream: Http2Stream, isEnd: boolean, lines: string[]): void {
    if (stream.isRemoteEnded) this.#refuseFrame(stream, errorCode.streamClosed);
    else if (!isEnd || !areTrailers(lines) || (stream.bodyBytesLeft ?? 0) > 0)
      this.#refuseFrame(stream, errorCode.protocolError);
    else stream.remoteEnd();
  }

  #priority(streamId: number, payload: Buffer): void {
    expectStream(streamId);
    this.onChore();
    if (payload.length !== 5) {
      const stream = this.#streams.get(streamId);
      if (stream === undefined)
        throw new ConnectionError(errorCode.frameSizeError, "a PRIORITY has five bytes");
      this.#refuseFrame(stream, errorCode.frameSizeError);
    } else expectOther(payload, streamId);
  }

  #rstStream(streamId: number, payload: Buffer): void {
    expectStream(streamId);
    expectLength(payload, payload.length === 4);
    this.#streams.expectUsed(streamId);
    this.#streams.countReset();
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) this.#drop(stream, "peer reset");
  }

  #settings(flags: number, streamId: number, payload: Buffer): void {
    expectConnection(streamId);
    this.onChore();
    if ((flags & flag.ack) !== 0) {
      expectLength(payload, payload.length === 0);
      return;
    }
    expectLength(payload, payload.length % 6 === 0);
    for (let at = 0; at < payload.length; at += 6)
      this.#sender.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2), this.#streams.all());
    this.#sender.push(frame(frameType.settings, flag.ack, 0, nothing));
    for (const stream of this.#streams.all()) if (stream.pendingBytes > 0) this.#sender.pump(stream);
  }

  #ping(flags: number, streamId: number, payload: Buffer): void {
    expectConnection(streamId);
    expectLength(payload, payload.length === 8);
    if ((flags & flag.ack) === 0) {
      // Clients measure the line with a ping for what they read.
      if (!this.#sender.takeHasSentData()) this.onChore();
      this.#sender.push(frame(frameType.ping, flag.ack, 0, payload));
    } else this.#onPong?.();
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
    if (bytes === 0) this.#refuseFrame(stream, errorCode.protocolError);
    else if (stream.sendWindow > windowBytesMax) this.#refuseFrame(stream, errorCode.flowControlError);
    else this.#sender.pump(stream);
  }

  // ---- ends of streams

  #drop(stream: Http2Stream, end: StreamEnd): void {
    this.#sender.forget(stream);
    this.#activeMs = performance.now();
    this.#streams.end(stream, end);
  }

  #late(streamId: number, unknown: number): void {
    if (this.#streams.isResetDue(streamId, unknown))
      this.#sender.push(numberFrame(frameType.rstStream, streamId, errorCode.streamClosed));
  }

  /** The peer's fault: the stream is reset, and that counts as one the peer made. */
  #refuseFrame(stream: Http2Stream, code: number): void {
    this.#streams.countReset();
    this.reset(stream, code);
  }
}
