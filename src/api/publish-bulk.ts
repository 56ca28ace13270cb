import { isBinaryType, isCloudEventType, isJsonType } from "../engine/pubsub/content-type.ts";
import type { Fault, FaultOptions } from "../errors.ts";
import { JsonCursor } from "../kit/json-cursor.ts";
import type { BulkPublishRequestEntry } from "../wire/dapr/proto/runtime/v1/pubsub_pb.js";
import type { Fields } from "./operation.ts";
import { members, metadataOf, parseBody, rawMember, textOf } from "./state-json.ts";

type MakeFault = (why: string, options: FaultOptions) => Fault;
type Entry = Fields<BulkPublishRequestEntry>;

/**
 * The entries of a bulk publish body (dapr-api.md §3.2): binary events come as base64, texts as strings, JSON and
 * CloudEvents as JSON, whose text is kept as it was sent.
 */
export function readBulkEntries(
  text: string,
  faults: { unreadable: MakeFault; unwritable: MakeFault },
): Entry[] {
  const list = guarded(faults.unreadable, () => readList(text));
  const cursor = new JsonCursor(text);
  const entries: Entry[] = [];
  if (list.length === 0) return entries;
  cursor.array(() => {
    const raw = rawMember(cursor, "event") ?? "null";
    const { entryId, contentType, event, metadata } = list[entries.length] as ListEntry;
    const bytes = guarded(faults.unwritable, () => eventBytes(event, raw, contentType));
    entries.push({ entryId, contentType, event: bytes, metadata });
  });
  return entries;
}

interface ListEntry {
  entryId: string;
  contentType: string;
  event: unknown;
  metadata: Record<string, string>;
}

function readList(text: string): ListEntry[] {
  const body = parseBody(text);
  if (body === null) return [];
  if (!Array.isArray(body)) throw new Error("the body has to be an array of entries");
  return body.map((item) => {
    if (item === null) throw new Error("an entry has to be an object");
    const { entryId = "", contentType = "", event, metadata } = members(item, "an entry");
    return {
      entryId: textOf(entryId, "entryId"),
      contentType: textOf(contentType, "contentType"),
      event,
      metadata: metadataOf(metadata),
    };
  });
}

function eventBytes(event: unknown, raw: string, contentType: string): Uint8Array {
  if (isJsonType(contentType) || isCloudEventType(contentType)) return Buffer.from(raw);
  const isBinary = isBinaryType(contentType);
  const isText = contentType.trimStart().toLowerCase().startsWith("text/");
  if ((!isBinary && !isText) || typeof event !== "string") {
    throw new Error("error: mismatch between contentType and event");
  }
  return isBinary ? decodeBase64(event) : Buffer.from(event);
}

function decodeBase64(text: string): Uint8Array {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  if (!isBase64) throw new Error("error: unable to decode base64 application/octet-stream data");
  return Buffer.from(text, "base64");
}

function guarded<T>(fault: MakeFault, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fault((error as Error).message, { cause: error });
  }
}
