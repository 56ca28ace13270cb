import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Mutation } from "../store/store.ts";
import type { InstanceRecord } from "./record.ts";

/** The row `metadata` of an instance: Dapr's BackendWorkflowStateMetadata, with a note of mecha's as a field of its own. */
export interface MetadataRow {
  inboxLength: number;
  historyLength: number;
  generation: number;
  signatureLength: number;
  certificateLength: number;
  foreignCertificateLength: number;
  /** Absent when daprd wrote the row. */
  note?: TurnNote | undefined;
}

/**
 * What the turn that wrote the row wants from the engine's store. It is carried out there in one commit, which sets
 * `turn` in the record: a record with another turn tells that it has not been yet.
 */
export interface TurnNote {
  turn: string;
  /** The turn that the record had before. */
  before?: string | undefined;
  /** The engine's store that belongs to it. */
  engine: string;
  record: InstanceRecord;
  /** Offsets of the messages that are handled by then. */
  handled: number[];
  mutations: Mutation[];
}

/** Dapr's fields in the order of their numbers. */
const lengths = [
  "inboxLength",
  "historyLength",
  "generation",
  "signatureLength",
  "certificateLength",
  "foreignCertificateLength",
] as const;
/** Far from Dapr's: its tools pass over fields that they do not know. */
const noteField = 19_001;
/** As Dapr: larger ones are not believed. */
const rowsMax = 1_000_000;

export function encodeMetadata(row: Pick<MetadataRow, "historyLength" | "generation" | "note">): Uint8Array {
  const writer = new BinaryWriter();
  if (row.historyLength > 0) writer.tag(2, WireType.Varint).uint64(row.historyLength);
  writer.tag(3, WireType.Varint).uint64(row.generation);
  if (row.note !== undefined) {
    writer.tag(noteField, WireType.LengthDelimited).string(JSON.stringify(row.note, encodeBytes));
  }
  return writer.finish();
}

export function decodeMetadata(bytes: Uint8Array): MetadataRow {
  const row: MetadataRow = {
    inboxLength: 0,
    historyLength: 0,
    generation: 0,
    signatureLength: 0,
    certificateLength: 0,
    foreignCertificateLength: 0,
  };
  if (bytes[0] === openingBrace) return { ...row, ...readJson(bytes) };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    const length = lengths[no - 1];
    if (length !== undefined) row[length] = checkedLength(Number(reader.uint64()));
    else if (no === noteField) row.note = JSON.parse(reader.string(), decodeBytes) as TurnNote;
    else reader.skip(type, no);
  }
  return row;
}

/** As Dapr wrote the row before 1.16. */
const openingBrace = 0x7b;

function readJson(bytes: Uint8Array): Partial<MetadataRow> {
  const { InboxLength = 0, HistoryLength = 0, Generation = 0 } = JSON.parse(new TextDecoder().decode(bytes));
  return {
    inboxLength: checkedLength(InboxLength),
    historyLength: checkedLength(HistoryLength),
    generation: Generation,
  };
}

function checkedLength(length: number): number {
  if (Number.isSafeInteger(length) && length >= 0 && length <= rowsMax) return length;
  throw new Error(`the metadata row of a workflow tells of ${length} rows`);
}

interface EncodedBytes {
  base64: string;
}

function encodeBytes(this: unknown, key: string, value: unknown): unknown {
  // Not `value`: a Buffer has become something else by then.
  const given = (this as Record<string, unknown>)[key];
  if (!(given instanceof Uint8Array)) return value;
  return { base64: Buffer.from(given.buffer, given.byteOffset, given.byteLength).toString("base64") };
}

function decodeBytes(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("base64" in value)) return value;
  return new Uint8Array(Buffer.from((value as EncodedBytes).base64, "base64"));
}
