/** A percent-escape that is none. */
export class InvalidEscape extends Error {
  constructor(offending: string) {
    super(`invalid URL escape "${offending}"`);
    this.name = "InvalidEscape";
  }
}

/** Decodes once, with `+` as a space: Go's query unescaping, which Dapr uses for path parameters too. */
export function queryUnescape(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  const spaced = text.replaceAll("+", " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    const bad = /%(?![0-9a-fA-F]{2}).{0,2}/.exec(spaced)?.[0];
    if (bad !== undefined) throw new InvalidEscape(bad);
    // Well-formed escapes of bytes that are not UTF-8.
    throw new InvalidEscape(/%[89a-fA-F][0-9a-fA-F]/.exec(spaced)?.[0] ?? spaced);
  }
}

/** The pairs of a query string in order; malformed ones are left out, as Go leaves them out. */
export function parseQuery(query: string): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  if (query === "") return pairs;
  for (const part of query.split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    try {
      if (equals < 0) pairs.push([queryUnescape(part), ""]);
      else pairs.push([queryUnescape(part.slice(0, equals)), queryUnescape(part.slice(equals + 1))]);
    } catch (error) {
      if (!(error instanceof InvalidEscape)) throw error;
    }
  }
  return pairs;
}
