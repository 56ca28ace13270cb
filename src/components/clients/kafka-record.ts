/** A record as it is read: what Dapr gives to the app of it. */
export interface KafkaRecord {
  topic: string;
  partition: number;
  offset: bigint;
  timestampMs: number;
  key: Uint8Array | undefined;
  value: Uint8Array;
  headers: [string, string][];
}

export interface KafkaMapping {
  escapeHeaders: boolean;
  excludeHeaderMetaRegex: string | undefined;
}

/** Not a header of Dapr's: the type of the content would be lost without. */
const contentTypeHeader = "content-type";

/** The names that are sent as headers and given to the app. */
export class KafkaHeaders {
  readonly #isEscaped: boolean;
  readonly #excluded: RegExp | undefined;

  constructor({ escapeHeaders, excludeHeaderMetaRegex }: KafkaMapping) {
    this.#isEscaped = escapeHeaders;
    if (!excludeHeaderMetaRegex) return;
    try {
      this.#excluded = new RegExp(excludeHeaderMetaRegex);
    } catch (error) {
      throw new Error(`excludeHeaderMetaRegex is no regular expression: ${excludeHeaderMetaRegex}`, {
        cause: error,
      });
    }
  }

  /** Every metadata is a header, the key too: as in Dapr. */
  of(metadata: Record<string, string>, contentType: string): Map<Buffer, Buffer> {
    const headers = new Map<Buffer, Buffer>();
    let isTyped = contentType === "";
    for (const [name, value] of Object.entries(metadata)) {
      if (this.#excluded?.test(name)) continue;
      isTyped ||= name.toLowerCase() === contentTypeHeader;
      headers.set(Buffer.from(name), Buffer.from(value));
    }
    if (!isTyped) headers.set(Buffer.from(contentTypeHeader), Buffer.from(contentType));
    return headers;
  }

  contentTypeOf({ headers }: KafkaRecord): string {
    return headers.find(([name]) => name.toLowerCase() === contentTypeHeader)?.[1] ?? "";
  }

  /** In Dapr's names. */
  metadataOf({ topic, partition, offset, timestampMs, key, headers }: KafkaRecord): Record<string, string> {
    const shown = (text: string): string => (this.#isEscaped ? queryEscape(text) : text);
    return {
      ...(key && { __key: shown(Buffer.from(key).toString()) }),
      __offset: String(offset),
      __topic: topic,
      __timestamp: String(timestampMs),
      __partition: String(partition),
      ...Object.fromEntries(
        headers.filter(([name]) => !this.#excluded?.test(name)).map(([name, value]) => [name, shown(value)]),
      ),
    };
  }
}

/** As Go's `url.QueryEscape`: a blank is a plus, and only letters, digits, `-_.~` stay. */
function queryEscape(text: string): string {
  const escaped = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return escaped.replaceAll("%20", "+");
}

/** The partition of a key, as Dapr's own client chooses it: FNV-1a of its bytes. */
export function partitionOfKey(key: Uint8Array, partitions: number): number {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  return Math.abs((hash | 0) % partitions);
}

/** What the metadata of a message says of its place. Throws for what is not done. */
export function placeOf(metadata: Record<string, string>): {
  key: Buffer | undefined;
  partition: number | undefined;
} {
  refuseSchemas(metadata);
  const key = metadata.partitionKey ?? metadata.__key;
  const number = metadata.partitionNumber;
  if (number !== undefined && !/^\d{1,9}$/.test(number)) {
    throw new Error(`partitionNumber is ${JSON.stringify(number)}, not a whole number`);
  }
  return {
    key: key === undefined ? undefined : Buffer.from(key),
    partition: number === undefined ? undefined : Number(number),
  };
}

/** Metadata of a message or a subscription that asks for what is not done. */
export function refuseSchemas({ valueSchemaType }: Record<string, string>): void {
  if (valueSchemaType === undefined || /^(none)?$/i.test(valueSchemaType)) return;
  throw new Error(`valueSchemaType is ${valueSchemaType}, and values are taken as the bytes they are`);
}
