/** Header lines as on the wire: name, value, name, value … */
export type HeaderLines = readonly string[];

/** All lines of a name, joined; `undefined` when there is none. */
export function lineOf(lines: HeaderLines, lowerName: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const name = lines[i] as string;
    if (name.length !== lowerName.length || name.toLowerCase() !== lowerName) continue;
    const value = lines[i + 1] as string;
    joined = joined === undefined ? value : `${joined}, ${value}`;
  }
  return joined;
}

/** Lines of a name, each for itself. */
export function linesOf(lines: HeaderLines, lowerName: string): string[] {
  const found: string[] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    if ((lines[i] as string).toLowerCase() === lowerName) found.push(lines[i + 1] as string);
  }
  return found;
}

export function withoutLines(lines: HeaderLines, lowerNames: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const name = lines[i] as string;
    if (!lowerNames.has(name.toLowerCase())) kept.push(name, lines[i + 1] as string);
  }
  return kept;
}

/** The members of a list field, trimmed. */
export function membersOf(value: string | undefined): string[] {
  if (value === undefined) return [];
  return value.split(",").flatMap((member) => member.trim() || []);
}
