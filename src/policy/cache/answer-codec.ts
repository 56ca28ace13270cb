import { type Found, isVariants } from "./answer-store.ts";
import type { StoredAnswer } from "./stored.ts";

/** Of the layout: four bytes of length, so much JSON, then the body as it is. */
const version = 1;
const lengthBytes = 4;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

type Told = Omit<StoredAnswer, "body">;
type Record = { v: number; marks: readonly string[] } & (
  | { answer: Told }
  | { names: readonly string[]; variant: string }
);

export interface Decoded {
  found: Found;
  /** The purges that had been when it was kept. */
  marks: readonly string[];
}

export function encodeFound(found: Found, marks: readonly string[]): Uint8Array {
  const record: Record = isVariants(found)
    ? { v: version, marks, names: found.names, variant: found.variant }
    : { v: version, marks, answer: { ...found, body: undefined } as Told };
  const json = encoder.encode(JSON.stringify(record));
  const body = isVariants(found) ? undefined : found.body;
  const bytes = new Uint8Array(lengthBytes + json.length + (body?.length ?? 0));
  new DataView(bytes.buffer).setUint32(0, json.length);
  bytes.set(json, lengthBytes);
  if (body !== undefined) bytes.set(body, lengthBytes + json.length);
  return bytes;
}

/** `undefined` for bytes that were not written by this. */
export function decodeFound(bytes: Uint8Array): Decoded | undefined {
  if (bytes.length < lengthBytes) return undefined;
  const end = lengthBytes + new DataView(bytes.buffer, bytes.byteOffset, lengthBytes).getUint32(0);
  if (end > bytes.length) return undefined;
  try {
    const record = JSON.parse(decoder.decode(bytes.subarray(lengthBytes, end))) as Record;
    if (record.v !== version) return undefined;
    const { marks } = record;
    if (!("answer" in record)) return { marks, found: { names: record.names, variant: record.variant } };
    return { marks, found: { ...record.answer, body: new Uint8Array(bytes.subarray(end)) } };
  } catch {
    return undefined;
  }
}
