import { membersOf } from "./header-lines.ts";

/** The names an answer varies by, lower-case and in order; `undefined`: by what no request tells (`*`). */
export function varyNames(value: string | undefined): readonly string[] | undefined {
  if (value === undefined) return none;
  const names = membersOf(value.toLowerCase());
  if (names.includes("*")) return undefined;
  return [...new Set(names)].sort();
}

const none: readonly string[] = [];

/** What a request says under the names, in one spelling (RFC 9111 §4.1); absent is not the same as empty. */
export function valuesUnder(
  names: readonly string[],
  header: (lowerName: string) => string | undefined,
): string[] {
  return names.map((name) => {
    const value = header(name);
    return value === undefined ? "" : `=${value.trim().replace(/[ \t]*,[ \t]*/g, ",")}`;
  });
}

export function hasSameValues(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((value, index) => value === right[index]);
}
