import type { SetRequest } from "../../component/state-store.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** JSON is kept as such when the server gives it back as it was; all else as base64, as Dapr does: text, and whether it is. */
export function storedForm({ value, contentType = "" }: SetRequest): [string, boolean] {
  if (/^application\/([\w.+-]+\+)?json\b/i.test(contentType)) {
    try {
      const text = decoder.decode(value);
      if (isKept(text)) return [text, false];
    } catch {
      // Not UTF-8, whatever its type says.
    }
  }
  return [JSON.stringify(Buffer.from(value).toString("base64")), true];
}

/** PostgreSQL's `jsonb` and MySQL's `json` sort the names of an object, drop spaces and repetitions; the first knows no U+0000. */
function isKept(text: string): boolean {
  return !text.includes("\\u0000") && text.isWellFormed() && canonical(JSON.parse(text)) === text;
}

function canonical(value: unknown): string | undefined {
  if (typeof value === "number") return plainNumber.test(String(value)) ? String(value) : undefined;
  if (typeof value === "string") return value.isWellFormed() ? JSON.stringify(value) : undefined;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return joined("[", value.map(canonical), "]");
  const names = Object.keys(value).sort(byLengthAndBytes);
  const members = names.map((name) => {
    const member = canonical((value as Record<string, unknown>)[name]);
    return name.isWellFormed() && member !== undefined ? `${JSON.stringify(name)}:${member}` : undefined;
  });
  return joined("{", members, "}");
}

const plainNumber = /^-?\d+(\.\d+)?$/;

function joined(begin: string, parts: (string | undefined)[], end: string): string | undefined {
  return parts.includes(undefined) ? undefined : begin + parts.join(",") + end;
}

function byLengthAndBytes(one: string, other: string): number {
  const [first, second] = [Buffer.from(one), Buffer.from(other)];
  return first.length - second.length || first.compare(second);
}

/** The bytes of a value; the server writes spaces after colons and commas. */
export function bytesOfJson(text: string, isBinary: boolean): Uint8Array {
  return isBinary ? Buffer.from(JSON.parse(text) as string, "base64") : Buffer.from(withoutSpaces(text));
}

function withoutSpaces(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
}
