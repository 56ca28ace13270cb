// Byte classes of RFC 9110 §5 and RFC 9112 §3, as tables of 0 and 1 indexed by byte.

function table(allowed: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (allowed(byte) ? 1 : 0));
}

const tokenPunctuation = new Set(Array.from("!#$%&'*+-.^_`|~", (char) => char.charCodeAt(0)));

function isAlphanumeric(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/** Bytes of a method or a field name. */
export const tokenBytes = table((byte) => isAlphanumeric(byte) || tokenPunctuation.has(byte));

/** Bytes of a start line: visible, space, and the upper half that raw UTF-8 targets use. */
export const lineBytes = table((byte) => byte >= 0x20 && byte !== 0x7f);

/** Bytes of a field value: as above and the tab. */
export const valueBytes = table((byte) => byte === 0x09 || (byte >= 0x20 && byte !== 0x7f));

export const isToken = (text: string): boolean => tokenPattern.test(text);
const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const unsafeValuePattern = /[^\t\x20-\x7e\x80-\xff]/;

/** Whether a field value would change the framing, or cannot be written as one byte per character. */
export const isUnsafeValue = (text: string): boolean => unsafeValuePattern.test(text);

/** Whether `text[from..to)` is `lower` without regard to ASCII case. */
export function equalsLower(text: string, from: number, to: number, lower: string): boolean {
  if (to - from !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) {
    let code = text.charCodeAt(from + i);
    if (code >= 0x41 && code <= 0x5a) code += 0x20;
    if (code !== lower.charCodeAt(i)) return false;
  }
  return true;
}
