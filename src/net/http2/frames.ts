/** Names and numbers of RFC 9113. */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

export const errorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const clientPreface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const frameHeadBytes = 9;
/** The largest frame that may be sent without the peer's leave, and the largest that is taken here. */
export const frameBytesMax = 16_384;
export const windowDefaultBytes = 65_535;
export const windowBytesMax = 2 ** 31 - 1;
export const streamIdMax = 2 ** 31 - 1;

/** The connection can not go on. */
export class ConnectionError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** A frame around a payload. */
export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const whole = Buffer.allocUnsafe(frameHeadBytes + payload.length);
  writeFrameHead(whole, 0, { length: payload.length, type, flags, streamId });
  whole.set(payload, frameHeadBytes);
  return whole;
}

/** A frame around one number of 32 bits. */
export function numberFrame(type: number, streamId: number, value: number): Buffer {
  const whole = Buffer.allocUnsafe(frameHeadBytes + 4);
  writeFrameHead(whole, 0, { length: 4, type, flags: 0, streamId });
  whole.writeUInt32BE(value, frameHeadBytes);
  return whole;
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.allocUnsafe(settings.length * 6);
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(frameType.settings, 0, 0, payload);
}

export function goawayFrame(lastStreamId: number, code: number): Buffer {
  const payload = Buffer.allocUnsafe(8);
  payload.writeUInt32BE(lastStreamId, 0);
  payload.writeUInt32BE(code, 4);
  return frame(frameType.goaway, 0, 0, payload);
}

export interface FrameHead {
  /** Of the payload. */
  length: number;
  type: number;
  flags: number;
  streamId: number;
}

export function writeFrameHead(out: Buffer, at: number, { length, type, flags, streamId }: FrameHead): void {
  out[at] = length >>> 16;
  out[at + 1] = length >>> 8;
  out[at + 2] = length;
  out[at + 3] = type;
  out[at + 4] = flags;
  out[at + 5] = streamId >>> 24;
  out[at + 6] = streamId >>> 16;
  out[at + 7] = streamId >>> 8;
  out[at + 8] = streamId;
}

export function expectStream(streamId: number): void {
  if (streamId === 0)
    throw new ConnectionError(errorCode.protocolError, "the frame is for a stream, and names none");
}

export function expectConnection(streamId: number): void {
  if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "the frame is for no single stream");
}

export function expectLength(payload: Uint8Array, isRight: boolean): void {
  if (!isRight) throw new ConnectionError(errorCode.frameSizeError, `a frame has ${payload.length} bytes`);
}
