import { lineOf, membersOf, withoutLines } from "./header-lines.ts";
import { parseHttpDate } from "./http-date.ts";
import type { StoredAnswer } from "./stored.ts";

/** The lines that ask the target whether what is stored still holds. */
export function validatorLines({ etag, lastModified }: StoredAnswer): string[] {
  const lines: string[] = [];
  if (etag !== undefined) lines.push("If-None-Match", etag);
  if (lastModified !== undefined) lines.push("If-Modified-Since", lastModified);
  return lines;
}

/** Lines of a caller's own conditions, which the stored answer is measured by (RFC 9111 §4.3.2). */
export const conditionNames: ReadonlySet<string> = new Set(["if-none-match", "if-modified-since"]);

/** Whether the caller has what is stored already. */
export function isKnownToCaller(
  stored: StoredAnswer,
  header: (lowerName: string) => string | undefined,
): boolean {
  if (stored.status !== 200) return false;
  const tags = header("if-none-match");
  if (tags !== undefined) return tags.trim() === "*" || matchesTag(tags, stored.etag);
  const since = parseHttpDate(header("if-modified-since"));
  if (since === undefined) return false;
  const changedMs = parseHttpDate(stored.lastModified ?? lineOf(stored.headers, "date")) ?? stored.receivedMs;
  return changedMs <= since;
}

/** Entity tags may hold commas: they are looked for, not split. Weak comparison (RFC 9110 §8.8.3.2). */
function matchesTag(list: string, etag: string | undefined): boolean {
  if (etag === undefined) return false;
  const opaque = opaqueOf(etag);
  const tags = list.match(/(?:W\/)?"[^"]*"/g) ?? membersOf(list);
  return tags.some((tag) => opaqueOf(tag) === opaque);
}

function opaqueOf(etag: string): string {
  return etag.startsWith("W/") ? etag.slice(2) : etag;
}

/** Of a 304 to a caller (RFC 9110 §15.4.5). */
const tellingNames = new Set([
  ...["cache-control", "content-location", "date", "etag", "expires", "vary", "last-modified", "set-cookie"],
  "cache-status",
]);

export function linesOfNotModified({ headers }: StoredAnswer): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    if (tellingNames.has(name.toLowerCase())) kept.push(name, headers[i + 1] as string);
  }
  return kept;
}

/** Whether a 304 is about what is stored (RFC 9111 §4.3.4). */
export function isAbout(stored: StoredAnswer, headers: readonly string[]): boolean {
  const etag = lineOf(headers, "etag");
  if (etag !== undefined) return stored.etag !== undefined && opaqueOf(stored.etag) === opaqueOf(etag);
  const lastModified = lineOf(headers, "last-modified");
  return (
    lastModified === undefined || stored.lastModified === undefined || lastModified === stored.lastModified
  );
}

/** What belongs to the stored body and stays with it (RFC 9111 §3.2). */
const ofBody = new Set(["content-length", "content-encoding", "content-type", "content-range", "etag"]);

/** The stored lines with those of a 304 in their place. */
export function mergedLines(stored: readonly string[], told: readonly string[]): string[] {
  const news: string[] = [];
  // It is as new as the 304, also when that has no date.
  const names = new Set<string>(["date"]);
  for (let i = 0; i + 1 < told.length; i += 2) {
    const lowerName = (told[i] as string).toLowerCase();
    if (ofBody.has(lowerName)) continue;
    names.add(lowerName);
    news.push(told[i] as string, told[i + 1] as string);
  }
  return [...withoutLines(stored, names), ...news];
}
