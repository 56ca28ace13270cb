import { Code, errors } from "../errors.ts";
import { JsonCursor } from "../kit/json-cursor.ts";
import { looseMembers } from "../kit/loose-members.ts";
import type { TransactionalStateOperation } from "../wire/dapr/proto/runtime/v1/state_pb.js";
import type { Fields } from "./operation.ts";
import type { Item, ItemOptions } from "./state-item.ts";

type Metadata = Record<string, string>;
type Members = Record<string, unknown>;

/** Parses a body; throws errors.MALFORMED_REQUEST. */
export function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw errors.MALFORMED_REQUEST((error as Error).message, { cause: error });
  }
}

/** The items of a save body. `query` is the metadata of the URL, which wins over that of an item. */
export function readItems(store: string, text: string, query: Metadata): Item[] {
  const body = parseBody(text);
  if (body === null) return [];
  if (!Array.isArray(body)) throw malformed("the body has to be an array of state items");
  const cursor = new JsonCursor(text);
  const items: Item[] = [];
  cursor.array(() => {
    const raw = cursor.isObject ? rawMember(cursor, "value") : cursor.value();
    items.push(readItem(store, members(body[items.length], "a state item"), raw, query));
  });
  return items;
}

/** The operations of a transaction body, in order. */
export function readTransaction(
  store: string,
  text: string,
  query: Metadata,
): { operations: Fields<TransactionalStateOperation>[]; metadata: Metadata } {
  const body = members(parseBody(text), "the body");
  const list = body.operations ?? [];
  if (!Array.isArray(list)) throw malformed('"operations" has to be an array');
  const raws = list.length === 0 ? [] : rawRequestValues(text);
  const operations = list.map((entry, index) => {
    const { operation, request } = members(entry, "an operation");
    const operationType = operation === undefined ? "" : textOf(operation, "operation");
    const isKnown = operationType === "upsert" || operationType === "delete";
    if (!isKnown) throw errors.STATE_OPERATION_NOT_SUPPORTED(operationType);
    const item = readItem(store, members(request, "request"), raws[index], query);
    return { operationType, request: item };
  });
  return { operations, metadata: { ...metadataOf(body.metadata), ...query } };
}

export interface BulkGetBody {
  keys: string[];
  parallelism: number;
  metadata: Metadata;
}

export function readBulkGet(text: string): BulkGetBody {
  const { keys = [], parallelism = 10, metadata } = members(parseBody(text), "the body");
  if (keys !== null && !Array.isArray(keys)) throw malformed('"keys" has to be an array');
  if (!Number.isInteger(parallelism)) throw malformed('"parallelism" has to be a whole number');
  return {
    keys: (keys ?? []).map((key: unknown) => textOf(key, "keys")),
    parallelism: parallelism as number,
    metadata: metadataOf(metadata),
  };
}

/** The `options` of an item, from their texts. */
export function readOptions(store: string, concurrency: unknown, consistency: unknown): ItemOptions {
  if (!concurrency && !consistency) return undefined;
  return {
    concurrency: optionCode(store, "concurrency", ["", "first-write", "last-write"], concurrency),
    consistency: optionCode(store, "consistency", ["", "eventual", "strong"], consistency),
  };
}

function readItem(store: string, item: Members, raw: string | undefined, query: Metadata): Item {
  const key = item.key === undefined ? "" : textOf(item.key, "key");
  if (key === "") throw errors.STATE_KEY_MISSING();
  const metadata = { ...metadataOf(item.metadata), ...query };
  if (metadata.contentType === undefined && item.contentType) {
    metadata.contentType = textOf(item.contentType, "contentType");
  }
  const options = item.options == null ? {} : members(item.options, "options");
  return {
    key,
    value: valueBytes(item.value, raw, metadata.contentType),
    etag: item.etag == null ? undefined : { value: textOf(item.etag, "etag") },
    metadata,
    options: readOptions(store, options.concurrency, options.consistency),
  };
}

/** JSON is kept as its text; what calls itself something else and came as a JSON string is kept as the string. */
function valueBytes(value: unknown, raw: string | undefined, contentType: string | undefined): Uint8Array {
  if (typeof value === "string" && contentType !== undefined && !isJson(contentType))
    return Buffer.from(value);
  return Buffer.from(raw ?? "null");
}

function isJson(contentType: string): boolean {
  const type = (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
  return type === "" || type === "application/json" || type.endsWith("+json");
}

/** The raw text of each operation's `request.value`, in order. */
function rawRequestValues(text: string): (string | undefined)[] {
  const raws: (string | undefined)[] = [];
  const cursor = new JsonCursor(text);
  cursor.object((name) => {
    if (name.toLowerCase() !== "operations" || !cursor.isArray) return cursor.skip();
    raws.length = 0;
    cursor.array(() => {
      let raw: string | undefined;
      const visit = (member: string): void => {
        if (member.toLowerCase() === "request" && cursor.isObject) raw = rawMember(cursor, "value");
        else cursor.skip();
      };
      if (cursor.isObject) cursor.object(visit);
      else cursor.skip();
      raws.push(raw);
    });
  });
  return raws;
}

/** Consumes the object at the cursor; the text of one member, the last of its name as `JSON.parse` has it. */
export function rawMember(cursor: JsonCursor, wanted: string): string | undefined {
  let raw: string | undefined;
  cursor.object((name) => {
    if (name === wanted || name.toLowerCase() === wanted) raw = cursor.value();
    else cursor.skip();
  });
  return raw;
}

function optionCode(store: string, option: string, texts: readonly string[], given: unknown): 0 | 1 | 2 {
  const code = given == null ? 0 : texts.indexOf(String(given));
  if (code >= 0) return code as 0 | 1 | 2;
  throw errors.STATE_SAVE(store, `unrecognized ${option} option '${String(given)}'`, {
    http: 400,
    grpc: Code.InvalidArgument,
  });
}

export function members(value: unknown, what: string): Members {
  return looseMembers(objectOf(value, what));
}

function objectOf(value: unknown, what: string): Members {
  if (value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw malformed(`${what} has to be an object`);
  return value as Members;
}

export function textOf(value: unknown, what: string): string {
  if (typeof value !== "string") throw malformed(`"${what}" has to be a string`);
  return value;
}

/** A map of texts; numbers and booleans are accepted as their text. */
export function metadataOf(value: unknown): Metadata {
  if (value == null) return {};
  const metadata: Metadata = {};
  for (const [name, entry] of Object.entries(objectOf(value, "metadata"))) {
    const isText = typeof entry === "string" || typeof entry === "number" || typeof entry === "boolean";
    if (!isText) throw malformed(`metadata "${name}" has to be a string`);
    metadata[name] = String(entry);
  }
  return metadata;
}

function malformed(why: string): Error {
  return errors.MALFORMED_REQUEST(why);
}
