/** google.rpc.Status by hand: `int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3`. */
export interface RpcStatus {
  code: number;
  message: string;
  /** Encoded google.protobuf.Any messages. */
  details: Uint8Array[];
}

export function encodeRpcStatus(status: RpcStatus): Uint8Array {
  const message = Buffer.from(status.message, "utf8");
  const parts: Uint8Array[] = [];
  if (status.code !== 0) parts.push(Uint8Array.of(0x08), varint(status.code));
  if (message.length > 0) parts.push(Uint8Array.of(0x12), varint(message.length), message);
  for (const detail of status.details) parts.push(Uint8Array.of(0x1a), varint(detail.length), detail);
  return Buffer.concat(parts);
}

/** `undefined` when the bytes are not a google.rpc.Status. */
export function decodeRpcStatus(bytes: Uint8Array): RpcStatus | undefined {
  const status: RpcStatus = { code: 0, message: "", details: [] };
  const at = { offset: 0 };
  while (at.offset < bytes.length) {
    const tag = readVarint(bytes, at);
    if (tag === undefined) return undefined;
    const wireType = tag & 7;
    const value = readVarint(bytes, at);
    if (value === undefined || (wireType !== 0 && wireType !== 2)) return undefined;
    if (wireType === 0) {
      if (tag >> 3 === 1) status.code = value;
      continue;
    }
    if (at.offset + value > bytes.length) return undefined;
    const field = bytes.subarray(at.offset, at.offset + value);
    at.offset += value;
    if (tag >> 3 === 2) status.message = Buffer.from(field).toString("utf8");
    if (tag >> 3 === 3) status.details.push(field);
  }
  return status;
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value >>> 0;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

function readVarint(bytes: Uint8Array, at: { offset: number }): number | undefined {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = bytes[at.offset++];
    if (byte === undefined) return undefined;
    if (shift < 35) value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return value;
  }
  return undefined;
}
