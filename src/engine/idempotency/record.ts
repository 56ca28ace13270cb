import type { RawHeaders } from "../../net/http1/types.ts";

/** Somebody has the key in hand. */
export interface RunningRecord {
  state: "running";
  /** Of what came with the key. */
  print: string;
  /** The process: tells whether it still lives on this machine. */
  mark: string;
  /** The lease of the runtime: tells the same for other machines. */
  lease: string;
  /** What whoever takes the key over has to know, such as the id that was chosen. */
  note?: string | undefined;
}

/** The key is used up. */
export interface DoneRecord {
  state: "done";
  print: string;
  /** Absent: there is nothing to replay. */
  reply?: { status: number; reason?: string | undefined; headers: RawHeaders };
  /** The reply was larger than what is stored. */
  isReplyLost?: true;
}

export type KeyRecord = RunningRecord | DoneRecord;

const newline = 10;
const noBytes = new Uint8Array(0);

/** A line of JSON, and the body of the reply behind it. */
export function encodeKeyRecord(record: KeyRecord, body: Uint8Array = noBytes): Uint8Array {
  return Buffer.concat([Buffer.from(`${JSON.stringify(record)}\n`), body]);
}

export function decodeKeyRecord(bytes: Uint8Array): { record: KeyRecord; body: Uint8Array } {
  const end = bytes.indexOf(newline);
  const record = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString("utf8")) as KeyRecord;
  return { record, body: bytes.slice(end + 1) };
}
