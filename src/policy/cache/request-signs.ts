/** What the header lines of a request say about caching, as bits. */
export const hasControl = 1;
export const hasCondition = 2;
export const hasAuthorization = 4;
/** A part of an answer, a condition for the target alone, another protocol: nothing for a cache. */
export const isBeyond = 8;

const bits: Record<string, number> = {
  "cache-control": hasControl,
  "if-none-match": hasCondition,
  "if-modified-since": hasCondition,
  authorization: hasAuthorization,
  range: isBeyond,
  "if-range": isBeyond,
  "if-match": isBeyond,
  "if-unmodified-since": isBeyond,
  upgrade: isBeyond,
};

/** Spellings that are remembered: names come from outside. */
const spellingsMax = 1000;
const spellings = new Map<string, number>();

/** One walk over the lines. */
export function signsOf(lines: readonly string[]): number {
  let signs = 0;
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] as string;
    signs |= spellings.get(name) ?? learn(name);
  }
  return signs;
}

function learn(name: string): number {
  const lowerName = name.toLowerCase();
  const sign = Object.hasOwn(bits, lowerName) ? (bits[lowerName] as number) : 0;
  if (spellings.size < spellingsMax) spellings.set(name, sign);
  return sign;
}
