/**
 * Patterns of paths in the language of Go's ServeMux: `/orders/{id}`, `/files/{path...}`, `/tree/` for all below it.
 * The most specific pattern that matches a path wins.
 */
export function createPathMatcher(patterns: readonly string[]): (path: string) => string | undefined {
  const known = patterns.map(parsePattern).sort(bySpecificity);
  return (path) => {
    const segments = path.split("/").slice(1);
    return known.find((pattern) => matches(pattern, segments))?.text;
  };
}

interface Pattern {
  text: string;
  segments: readonly string[];
  /** Anything may follow. */
  isOpen: boolean;
}

function parsePattern(text: string): Pattern {
  const segments = text
    .replace(/\/\{\$\}$/, "/")
    .split("/")
    .slice(1);
  const last = segments.at(-1) ?? "";
  const isSubtree = last === "" && !text.endsWith("{$}");
  const isRest = /^\{.*\.\.\.\}$/.test(last);
  const isOpen = isSubtree || isRest;
  return { text, segments: isOpen ? segments.slice(0, -1) : segments, isOpen };
}

function matches({ segments, isOpen }: Pattern, path: readonly string[]): boolean {
  // What is open begins below its last segment: `/tree/` does not match `/tree`.
  if (isOpen ? path.length <= segments.length : path.length !== segments.length) return false;
  return segments.every((segment, index) =>
    isParameter(segment) ? path[index] !== "" : segment === path[index],
  );
}

function bySpecificity(left: Pattern, right: Pattern): number {
  const length = Math.max(left.segments.length, right.segments.length);
  for (let i = 0; i < length; i++) {
    const difference = weight(left.segments[i]) - weight(right.segments[i]);
    if (difference !== 0) return difference;
  }
  return Number(left.isOpen) - Number(right.isOpen);
}

function weight(segment: string | undefined): number {
  if (segment === undefined) return 2;
  return isParameter(segment) ? 1 : 0;
}

function isParameter(segment: string): boolean {
  return segment.startsWith("{") && segment.endsWith("}");
}
