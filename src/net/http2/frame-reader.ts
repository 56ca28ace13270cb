import {
  ConnectionError,
  clientPreface,
  errorCode,
  flag,
  frameBytesMax,
  frameHeadBytes,
  frameType,
  streamIdMax,
} from "./frames.ts";

/** Who gets the frames of a connection. Throws `ConnectionError` for what breaks it. */
export interface FrameReceiver {
  /** The preface was right, and SETTINGS follow. */
  onGreeting(): void;
  /** Everything but header blocks. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** A header block, put together from its frames. */
  onHeaderBlock(streamId: number, isEnd: boolean, block: Buffer): void;
  /** A frame that carries nothing. */
  onChore(): void;
}

/** A header block that has not come whole: nothing else may come before the rest. */
interface OpenBlock {
  streamId: number;
  isEnd: boolean;
  parts: Uint8Array[];
  bytes: number;
}

const nothing = Buffer.alloc(0);

/** Cuts what a peer sends into frames (RFC 9113 §3.4, §4). Of a client the preface comes first. */
export class FrameReader {
  readonly #receiver: FrameReceiver;
  readonly #blockBytesMax: number;
  #rest: Buffer = nothing;
  readonly #ofClient: boolean;
  #isGreeted = false;
  #block: OpenBlock | undefined;
  /** Set when nothing more shall be read. */
  isStopped = false;

  constructor(receiver: FrameReceiver, blockBytesMax: number, ofClient = true) {
    this.#ofClient = ofClient;
    this.#receiver = receiver;
    this.#blockBytesMax = blockBytesMax;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = bytes.subarray(this.#read(bytes));
  }

  /** Reads the whole frames; answers how far it came. */
  #read(bytes: Buffer): number {
    let at = this.#isGreeted ? 0 : this.#greet(bytes);
    while (this.#isGreeted && !this.isStopped && bytes.length - at >= frameHeadBytes) {
      const length = bytes.readUIntBE(at, 3);
      if (length > frameBytesMax) throw new ConnectionError(errorCode.frameSizeError, "a frame is too large");
      const end = at + frameHeadBytes + length;
      if (end > bytes.length) break;
      const streamId = bytes.readUInt32BE(at + 5) & streamIdMax;
      const payload = bytes.subarray(at + frameHeadBytes, end);
      this.#frame(bytes[at + 3] as number, bytes[at + 4] as number, streamId, payload);
      at = end;
    }
    return at;
  }

  /** Answers how long the greeting was, 0 when it is not complete. */
  #greet(bytes: Buffer): number {
    if (this.#ofClient) return this.#readPreface(bytes);
    if (bytes.length < frameHeadBytes) return 0;
    if (bytes[3] !== frameType.settings)
      throw new ConnectionError(errorCode.protocolError, "the server does not speak HTTP/2");
    this.#isGreeted = true;
    this.#receiver.onGreeting();
    return 0;
  }

  #readPreface(bytes: Buffer): number {
    const common = Math.min(bytes.length, clientPreface.length);
    if (bytes.compare(clientPreface, 0, common, 0, common) !== 0)
      throw new ConnectionError(errorCode.protocolError, "this is no HTTP/2 preface");
    if (bytes.length < clientPreface.length + frameHeadBytes) return 0;
    if (bytes[clientPreface.length + 3] !== frameType.settings)
      throw new ConnectionError(errorCode.protocolError, "the preface ends with no SETTINGS");
    this.#isGreeted = true;
    this.#receiver.onGreeting();
    return clientPreface.length;
  }

  #frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (this.#block !== undefined && (type !== frameType.continuation || streamId !== this.#block.streamId))
      throw new ConnectionError(errorCode.protocolError, "a header block was cut off");
    if (type === frameType.headers) this.#headers(flags, streamId, payload);
    else if (type === frameType.continuation) this.#continuation(flags, payload);
    else this.#receiver.onFrame(type, flags, streamId, payload);
  }

  #headers(flags: number, streamId: number, payload: Buffer): void {
    if (streamId % 2 === 0)
      throw new ConnectionError(errorCode.protocolError, "clients have odd stream numbers");
    let part = unpadded(flags, payload);
    if ((flags & flag.priority) !== 0) {
      if (part.length < 5) throw new ConnectionError(errorCode.frameSizeError, "a priority has five bytes");
      expectOther(part, streamId);
      part = part.subarray(5);
    }
    const isEnd = (flags & flag.endStream) !== 0;
    if ((flags & flag.endHeaders) !== 0) this.#receiver.onHeaderBlock(streamId, isEnd, part);
    else this.#block = { streamId, isEnd, parts: [part], bytes: part.length };
  }

  #continuation(flags: number, part: Buffer): void {
    const block = this.#block;
    if (block === undefined)
      throw new ConnectionError(errorCode.protocolError, "there is no header block to go on");
    if (part.length === 0) this.#receiver.onChore();
    block.parts.push(part);
    block.bytes += part.length;
    if (block.bytes > this.#blockBytesMax)
      throw new ConnectionError(errorCode.enhanceYourCalm, "a header block is too large");
    if ((flags & flag.endHeaders) === 0) return;
    this.#block = undefined;
    this.#receiver.onHeaderBlock(block.streamId, block.isEnd, Buffer.concat(block.parts));
  }
}

/** The payload of a DATA or HEADERS frame without its padding. */
export function unpadded(flags: number, payload: Buffer): Buffer {
  if ((flags & flag.padded) === 0) return payload;
  const padding = payload[0];
  if (padding === undefined || padding >= payload.length)
    throw new ConnectionError(errorCode.protocolError, "there is more padding than frame");
  return payload.subarray(1, payload.length - padding);
}

/** Priorities mean nothing here; one that depends on itself is wrong all the same. */
export function expectOther(priority: Buffer, streamId: number): void {
  if ((priority.readUInt32BE(0) & streamIdMax) === streamId)
    throw new ConnectionError(errorCode.protocolError, "a stream depends on itself");
}
