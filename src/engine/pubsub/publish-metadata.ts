/** A metadata value by name; exact first, then whatever the case. */
export function metadataValue(metadata: Record<string, string>, name: string): string | undefined {
  const exact = metadata[name];
  if (exact !== undefined) return exact;
  const lower = name.toLowerCase();
  for (const key in metadata) {
    if (key.length === lower.length && key.toLowerCase() === lower) return metadata[key];
  }
  return undefined;
}

const truths = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const lies = new Set(["", "0", "f", "F", "FALSE", "false", "False"]);

/** `rawPayload`; throws when it is not one of Go's spellings of a boolean. */
export function rawPayloadOf(metadata: Record<string, string>): boolean {
  const text = metadataValue(metadata, "rawPayload");
  if (text === undefined || lies.has(text)) return false;
  if (truths.has(text)) return true;
  throw new InvalidRawPayload(text);
}

/** The text of this error is part of the wire contract. */
export class InvalidRawPayload extends Error {
  constructor(actual: string) {
    super(`rawPayload value must be a valid boolean: actual is '${actual}'`);
    this.name = "InvalidRawPayload";
  }
}

const ttlMaxSeconds = 9_223_372_036;

/** `ttlInSeconds` in milliseconds; `undefined` when absent or not a positive whole number, as Dapr has it. */
export function ttlMsOf(metadata: Record<string, string>): number | undefined {
  const text = metadataValue(metadata, "ttlInSeconds");
  if (text === undefined || !/^\+?\d{1,19}$/.test(text)) return undefined;
  const seconds = Number(text);
  return seconds > 0 ? Math.min(seconds, ttlMaxSeconds) * 1000 : undefined;
}
