import type { Socket } from "node:net";
import { Outlet } from "../http1/outlet.ts";
import {
  ConnectionError,
  errorCode,
  type FrameHead,
  flag,
  frameBytesMax,
  frameHeadBytes,
  frameType,
  numberFrame,
  setting,
  windowBytesMax,
  windowDefaultBytes,
  writeFrameHead,
} from "./frames.ts";
import { HeaderEncoder, type HeaderObject } from "./header-encoder.ts";
import type { Http2Stream } from "./http2-stream.ts";

/** What one stream may send before others that wait have their turn. */
const turnBytesMax = 64 * 1024;
/** Frames that wait because the peer does not read: beyond this it is given up. */
const heldBytesMax = 4 * 1024 * 1024;

/**
 * Where frames are put together. A sender has one from the first frame of a turn until they leave, so that a connection
 * without anything to send holds none, and no frame is a buffer of its own.
 */
const desks: Buffer[] = [];
const deskBytes = 64 * 1024;
const desksMax = 8;
const nothing = new Uint8Array(0);

/** The way out of a connection: frames of a turn leave in one write, DATA as the windows and the socket let it. */
export class Sender {
  /** What the peer announced for each stream. */
  initialWindow = windowDefaultBytes;
  readonly #encoder: HeaderEncoder;
  readonly #outlet: Outlet;
  #window = windowDefaultBytes;
  #desk: Buffer | undefined;
  #deskUsed = 0;
  /** Full desks of a peer that does not read. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isScheduled = false;
  #isBatching = false;
  #isBlocked = false;
  #isOver = false;
  #hasSentData = false;
  /** Streams with something to send that the connection has no room for, first come first served. */
  readonly #waiting = new Set<Http2Stream>();
  readonly #onRoom: () => void;

  /** `onRoom`: the peer reads again. `first`: what each header block begins with. */
  constructor(socket: Socket, onRoom: () => void, first?: readonly string[]) {
    this.#encoder = new HeaderEncoder(first);
    this.#onRoom = onRoom;
    this.#outlet = new Outlet(socket, () => this.drained());
  }

  /** The peer does not read what was written. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Frames until `endBatch` leave together. */
  beginBatch(): void {
    this.#isBatching = true;
  }

  /** `isMoreExpected`: what this turn of the event loop still adds leaves together with the batch. */
  endBatch(isMoreExpected: boolean): void {
    this.#isBatching = false;
    if (isMoreExpected) this.#flushLater();
    else this.flush();
  }

  push(bytes: Uint8Array): void {
    if (this.#isOver) return;
    const at = this.#reserve(bytes.length);
    this.#desk?.set(bytes, at);
    this.#pushed();
  }

  #frame(head: FrameHead, payload: Uint8Array): void {
    if (this.#isOver) return;
    const at = this.#reserve(frameHeadBytes + head.length);
    const desk = this.#desk as Buffer;
    writeFrameHead(desk, at, head);
    if (head.length > 0) desk.set(payload, at + frameHeadBytes);
    this.#pushed();
  }

  /** Room for so many bytes on the desk; answers where they begin. */
  #reserve(bytes: number): number {
    if (this.#deskUsed + bytes > deskBytes) {
      if (this.#isBlocked) this.#hold();
      else this.flush();
    }
    this.#desk ??= desks.pop() ?? Buffer.allocUnsafeSlow(deskBytes);
    const at = this.#deskUsed;
    this.#deskUsed += bytes;
    return at;
  }

  #pushed(): void {
    if (this.#isBlocked) {
      if (this.#heldBytes + this.#deskUsed > heldBytesMax)
        throw new ConnectionError(errorCode.enhanceYourCalm, "the peer does not read its answers");
    } else if (!this.#isBatching) this.#flushLater();
  }

  #hold(): void {
    if (this.#desk === undefined) return;
    this.#held.push(Buffer.from(this.#desk.subarray(0, this.#deskUsed)));
    this.#heldBytes += this.#deskUsed;
    this.#deskUsed = 0;
  }

  #flushLater(): void {
    if (this.#isScheduled || (this.#deskUsed === 0 && this.#waiting.size === 0)) return;
    this.#isScheduled = true;
    setImmediate(flushLater, this);
  }

  flush(): void {
    const desk = this.#desk;
    if (this.#isBlocked || desk === undefined) return;
    const own = desk.subarray(0, this.#deskUsed);
    // What TLS keeps of a buffer, and for how long, is not ours to know.
    const isLent = this.#held.length === 0 && !this.#outlet.encrypted;
    const bytes = isLent ? own : Buffer.concat([...this.#held, own]);
    this.#desk = undefined;
    this.#deskUsed = 0;
    this.#held = [];
    this.#heldBytes = 0;
    this.#isBlocked = !this.#outlet.write(bytes);
    const isFree = !isLent || this.#outlet.writableLength === 0;
    if (isFree && desks.length < desksMax) desks.push(desk);
  }

  /** Called by the timer of `push`. */
  flushScheduled(): void {
    this.#isScheduled = false;
    if (this.#isOver) return;
    this.flush();
    this.pumpWaiting();
  }

  /** The socket has taken everything. */
  drained(): void {
    if (!this.#isBlocked) return;
    this.#isBlocked = false;
    this.flush();
    this.pumpWaiting();
    if (!this.#isBlocked) this.#onRoom();
  }

  /** Everything written leaves, then the socket is closed. */
  end(): void {
    this.#isBlocked = false;
    this.flush();
    this.#isOver = true;
    this.#outlet.endAndDestroy();
  }

  headers(stream: Http2Stream, headers: HeaderObject, isEnd: boolean): void {
    const block = this.#encoder.encode(headers);
    const end = isEnd ? flag.endStream : 0;
    const streamId = stream.id;
    if (block.length <= frameBytesMax) {
      const head = { length: block.length, type: frameType.headers, flags: flag.endHeaders | end, streamId };
      this.#frame(head, block);
      return;
    }
    for (let from = 0; from < block.length; from += frameBytesMax) {
      const part = block.subarray(from, from + frameBytesMax);
      const last = from + part.length === block.length ? flag.endHeaders : 0;
      const [type, flags] = from === 0 ? [frameType.headers, last | end] : [frameType.continuation, last];
      this.#frame({ length: part.length, type, flags, streamId }, part);
    }
  }

  /** A setting of the peer. A window may become negative: nothing is sent until it is positive again. */
  set(id: number, value: number, streams: Iterable<Http2Stream>): void {
    if (id === setting.headerTableSize) this.#encoder.limitTable(value);
    else if (id === setting.enablePush && value > 1)
      throw new ConnectionError(errorCode.protocolError, "ENABLE_PUSH is 0 or 1");
    else if (id === setting.maxFrameSize && (value < frameBytesMax || value > 0xffffff))
      throw new ConnectionError(errorCode.protocolError, `no frame size can be ${value}`);
    else if (id === setting.initialWindowSize) this.#resizeWindows(value, streams);
  }

  #resizeWindows(bytes: number, streams: Iterable<Http2Stream>): void {
    const change = bytes - this.initialWindow;
    this.initialWindow = bytes;
    let largest = bytes;
    for (const stream of streams) {
      stream.sendWindow += change;
      largest = Math.max(largest, stream.sendWindow);
    }
    if (largest > windowBytesMax)
      throw new ConnectionError(errorCode.flowControlError, "a window is too large");
  }

  /** Whether DATA was sent since this was asked last. */
  takeHasSentData(): boolean {
    const hasSent = this.#hasSentData;
    this.#hasSentData = false;
    return hasSent;
  }

  windowUpdate(streamId: number, bytes: number): void {
    this.push(numberFrame(frameType.windowUpdate, streamId, bytes));
  }

  /** The peer grants the connection more. */
  grant(bytes: number): void {
    this.#window += bytes;
    if (this.#window > windowBytesMax)
      throw new ConnectionError(errorCode.flowControlError, "the window of the connection is too large");
    this.pumpWaiting();
  }

  /** Streams that wait for the connection send in turn. */
  pumpWaiting(): void {
    while (this.#waiting.size > 0 && !this.#isBlocked && this.#window > 0) {
      const [stream] = this.#waiting;
      this.#waiting.delete(stream as Http2Stream);
      this.pump(stream as Http2Stream);
    }
  }

  forget(stream: Http2Stream): void {
    this.#waiting.delete(stream);
  }

  /** Sends what a stream has, as far as there is room; its end after the last byte. */
  pump(stream: Http2Stream): void {
    let turn = turnBytesMax;
    while (stream.pending.length > 0) {
      if (this.#isBlocked || this.#window <= 0 || turn <= 0) {
        this.#waiting.add(stream);
        // Nothing else may come to wake it: neither does the socket block nor has the peer used up what it grants.
        if (!this.#isBlocked && this.#window > 0) this.#flushLater();
        return;
      }
      const piece = stream.pending[0] as Uint8Array;
      const sent = Math.min(piece.length, frameBytesMax, this.#window, stream.sendWindow);
      if (sent <= 0) return;
      this.#data(stream, piece, sent);
      turn -= sent;
    }
    if (stream.isEnding && !stream.isLocalEnded) this.#end(stream);
    else if (stream.awaitsDrain && !stream.isClosed) {
      stream.awaitsDrain = false;
      stream.receiver.onDrain();
    }
  }

  #data(stream: Http2Stream, piece: Uint8Array, sent: number): void {
    const isWhole = sent === piece.length;
    if (isWhole) stream.pending.shift();
    else stream.pending[0] = piece.subarray(sent);
    stream.pendingBytes -= sent;
    stream.sendWindow -= sent;
    this.#window -= sent;
    this.#hasSentData = true;
    const isLast = stream.isEnding && stream.trailers === undefined && stream.pending.length === 0;
    const head = {
      length: sent,
      type: frameType.data,
      flags: isLast ? flag.endStream : 0,
      streamId: stream.id,
    };
    this.#frame(head, isWhole ? piece : piece.subarray(0, sent));
    if (isLast) stream.localEnd();
  }

  #end(stream: Http2Stream): void {
    if (stream.trailers !== undefined) this.headers(stream, stream.trailers, true);
    else
      this.#frame({ length: 0, type: frameType.data, flags: flag.endStream, streamId: stream.id }, nothing);
    stream.localEnd();
  }
}

function flushLater(sender: Sender): void {
  sender.flushScheduled();
}
