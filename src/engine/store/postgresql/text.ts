/**
 * PostgreSQL's text cannot hold U+0000. It is written as two characters; so is the first of these two, which keeps the
 * order of texts and what is a prefix of what. Lone surrogates, which UTF-8 cannot hold, become U+FFFD.
 */
export function toText(given: string): string {
  const text = given.toWellFormed();
  return text.includes("\0") || text.includes("\x01")
    ? text.replaceAll("\x01", "\x01\x02").replaceAll("\0", "\x01\x01")
    : text;
}

export function fromText(stored: string): string {
  if (!stored.includes("\x01")) return stored;
  return stored.replaceAll("\x01\x01", "\0").replaceAll("\x01\x02", "\x01");
}
