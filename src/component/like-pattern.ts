import type { KeysLikeRequest, KeysLikeResult } from "./state-store.ts";

/** Turns a LIKE pattern into a test: `%` any text, `_` any one character, a backslash takes the next one literally. */
export function likePattern(pattern: string): RegExp {
  let source = "";
  const characters = [...pattern];
  for (let index = 0; index < characters.length; index++) {
    const character = characters[index] ?? "";
    if (character === "%") source += ".*";
    else if (character === "_") source += ".";
    else if (character === "\\" && index + 1 < characters.length)
      source += literal(characters[++index] ?? "");
    else source += literal(character);
  }
  return new RegExp(`^${source}$`, "su");
}

/** The text that every match begins with: what narrows a scan. */
export function likePrefix(pattern: string): string {
  let prefix = "";
  for (let index = 0; index < pattern.length; index++) {
    const character = pattern[index] ?? "";
    if (character === "%" || character === "_") break;
    if (character === "\\" && index + 1 < pattern.length) prefix += pattern[++index];
    else prefix += character;
  }
  return prefix;
}

/** One page of sorted keys. The token is the last key of the page, so deletes and inserts do not disturb it. */
export function pageOfKeys(sortedMatches: readonly string[], request: KeysLikeRequest): KeysLikeResult {
  const { limit, token } = request;
  const rest = token === undefined ? sortedMatches : sortedMatches.filter((key) => key > token);
  if (limit === undefined || limit <= 0 || rest.length <= limit) return { keys: [...rest] };
  const keys = rest.slice(0, limit);
  return { keys, token: keys.at(-1) };
}

/** Throws what Dapr's stores answer to an empty pattern. */
export function checkPattern(request: KeysLikeRequest): void {
  if (request.pattern === "") throw new Error("pattern is required");
}

/** The prefix with its `||`, as Dapr's stores complete it. */
export function completePrefix(prefix: string): string {
  if (prefix === "" || prefix === "||") throw new Error("prefix is required");
  return prefix.endsWith("||") ? prefix : `${prefix}||`;
}

/** `p||a` stands directly below `p||`, `p||q||a` does not. */
export function isDirectChild(key: string, prefix: string): boolean {
  return key.startsWith(prefix) && !key.slice(prefix.length).includes("||");
}

function literal(character: string): string {
  return character.replace(/[$()*+./?[\\\]^{|}-]/gu, "\\$&");
}
