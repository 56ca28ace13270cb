/** The first text after all texts that start with `prefix`, in SQLite's (UTF-8) order; `undefined`: there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let point = points.pop(); point !== undefined; point = points.pop()) {
    if (point < 0x10ffff) return String.fromCodePoint(...points, nextPoint(point));
  }
  return undefined;
}

/** Surrogates are no characters of their own: UTF-8 cannot hold them. */
function nextPoint(point: number): number {
  return point === 0xd7ff ? 0xe000 : point + 1;
}
