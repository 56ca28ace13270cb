import { isUtf8 } from "node:buffer";

const depthMax = 50;

/** As Dapr keeps it: objects and arrays as documents when they come back byte for byte, other text as text, the rest as bytes. */
export function storedValue(value: Uint8Array): unknown {
  const bytes = Buffer.from(value);
  if (!isUtf8(bytes)) return bytes;
  const text = bytes.toString("utf8");
  // FerretDB's texts, and names in BSON, know no U+0000.
  if (text.includes("\u0000")) return bytes;
  if (!/^[[{]/.test(text)) return text;
  try {
    const parsed = JSON.parse(text) as unknown;
    return JSON.stringify(parsed) === text && isKept(parsed, 0) ? parsed : text;
  } catch {
    return text;
  }
}

/** Names that mean something to the server are not those of a document. */
function isKept(value: unknown, depth: number): boolean {
  if (depth > depthMax) return false;
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\u0000");
  if (typeof value === "number") return Number.isSafeInteger(value) || !Number.isInteger(value);
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return value.every((one) => isKept(one, depth + 1));
  const isName = (name: string) =>
    name !== "" &&
    name !== "__proto__" &&
    !/[$.]/.test(name) &&
    !name.includes("\u0000") &&
    name.isWellFormed();
  return Object.entries(value).every(([name, one]) => isName(name) && isKept(one, depth + 1));
}

/** The bytes of a value that mecha or Dapr wrote. */
export function bytesOfValue(value: unknown): Uint8Array {
  if (typeof value === "string") return Buffer.from(value);
  const {
    _bsontype: type,
    buffer,
    position,
  } = (value ?? {}) as { _bsontype?: string; buffer: Buffer; position: number };
  if (type === "Binary") return Buffer.from(buffer.subarray(0, position));
  return Buffer.from(JSON.stringify(value));
}
