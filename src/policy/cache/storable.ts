import type { CacheSpec } from "../../resource/traffic.ts";
import { type CacheControl, parseCacheControl } from "./cache-control.ts";
import { type HeaderLines, lineOf, linesOf, membersOf, withoutLines } from "./header-lines.ts";
import { parseHttpDate } from "./http-date.ts";
import type { StoredAnswer } from "./stored.ts";
import { valuesUnder, varyNames } from "./vary.ts";

/** What of a CacheSpec decides about an answer. */
export type StoreRules = Pick<
  CacheSpec,
  "ttlMs" | "cookies" | "vary" | "key" | "staleWhileRevalidateMs" | "staleIfErrorMs"
>;

/** A request and what came of it. */
export interface Exchange {
  method: string;
  header(lowerName: string): string | undefined;
  /** Names of headers that tell answers apart, whatever they say. */
  apartBy?: readonly string[] | undefined;
  /** Of the request; none when they are not looked at. */
  asked: CacheControl;
  status: number;
  reason?: string | undefined;
  headers: HeaderLines;
  /** When the request was sent, and its answer had come. */
  sentMs: number;
  receivedMs: number;
}

/** A stored answer whose body is still to come, or why there is none. */
export type Judged = { answer: Omit<StoredAnswer, "body" | "tags"> } | { why: string };

/** Statuses whose meaning a cache knows: `must-understand` (RFC 9111 §5.2.2.3). */
const understood = new Set([200, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 451]);
/** Kept for the policy's `ttl`: failures and what is said of one request only are not. */
const keptForTtl = new Set([200, 203, 204, 300, 301, 308]);
/** Not the whole answer, or one for this caller only. */
const neverKept = new Set([206, 304, 401, 407, 408, 416, 417, 425, 429]);
/** Without a word about its age: kept to be asked about (RFC 9110 §15.1). */
const keptToValidate = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414]);
const framing = new Set([
  "content-length",
  "transfer-encoding",
  "connection",
  "age",
  "keep-alive",
  "trailer",
]);

/** Whether and how an answer is kept (RFC 9111 §3). There is no guessing of lifetimes: what is not said is not kept. */
export function judge(exchange: Exchange, rules: StoreRules): Judged {
  const said = parseCacheControl(lineOf(exchange.headers, "cache-control"));
  const why = whyNot(exchange, said, rules);
  if (why !== undefined) return { why };
  const names = varyNames(lineOf(exchange.headers, "vary"));
  if (names === undefined) return { why: "varies by anything" };
  const foreign = rules.vary.length === 0 ? undefined : names.find((name) => !rules.vary.includes(name));
  if (foreign !== undefined) return { why: `varies by ${foreign}` };
  const answer = assemble(
    exchange,
    said,
    rules,
    [...new Set([...rules.key.headers, ...(exchange.apartBy ?? []), ...names])].sort(),
  );
  const isOfUse =
    answer.lifetimeMs > answer.initialAgeMs ||
    answer.etag !== undefined ||
    answer.lastModified !== undefined ||
    (!answer.mustRevalidate && (answer.staleWhileRevalidateMs > 0 || answer.staleIfErrorMs > 0));
  return isOfUse ? { answer } : { why: "neither a lifetime nor a validator" };
}

function whyNot(exchange: Exchange, said: CacheControl, rules: StoreRules): string | undefined {
  const { method, asked, status, header } = exchange;
  if (method !== "GET") return "method";
  if (asked.noStore) return "the request says no-store";
  if (status < 200 || status >= 500 || neverKept.has(status)) return `status ${status}`;
  if (said.mustUnderstand && !understood.has(status)) return `status ${status} must be understood`;
  if (said.noStore && !said.mustUnderstand) return "no-store";
  if (said.private) return "private";
  const isKeyed = rules.key.headers.includes("authorization");
  if (!isKeyed && credentials(header) && !(said.public || said.mustRevalidate || said.sMaxAge !== undefined))
    return "authorization";
  if (!cookiesAllowed(exchange.headers, rules)) return "set-cookie";
  const isToldHow = said.public || said.maxAge !== undefined || said.sMaxAge !== undefined;
  const isKnown =
    isToldHow || keptToValidate.has(status) || lineOf(exchange.headers, "expires") !== undefined;
  return isKnown ? undefined : `status ${status} without a lifetime`;
}

/** Basic authentication may be how the caller named the app (dapr-api.md §12): then it tells nothing of a person. */
export function credentials(header: Exchange["header"]): boolean {
  const value = header("authorization");
  return value !== undefined && !value.startsWith(basicAddress);
}

/** The first bytes, in Base64, of the user `dapr-app-id:`. */
const basicAddress = "Basic ZGFwci1hcHAtaWQ6";

/** A cookie is for one person: kept only for a `ttl` of the policy that names it. */
function cookiesAllowed(headers: HeaderLines, { ttlMs, cookies }: StoreRules): boolean {
  const set = linesOf(headers, "set-cookie");
  if (set.length === 0) return true;
  return ttlMs !== undefined && set.every((line) => cookies.includes(line.split("=", 1)[0]?.trim() ?? ""));
}

function assemble(
  exchange: Exchange,
  said: CacheControl,
  rules: StoreRules,
  names: readonly string[],
): Omit<StoredAnswer, "body" | "tags"> {
  const { status, reason, headers, receivedMs, header } = exchange;
  const initialAgeMs = initialAge(exchange);
  const isTtl = rules.ttlMs !== undefined && keptForTtl.has(status);
  const saysStale = said.mustRevalidate || said.proxyRevalidate || said.noCache;
  return {
    ...{ status, reason, receivedMs, initialAgeMs },
    headers: datedLines(headers, receivedMs),
    lifetimeMs: isTtl ? initialAgeMs + (rules.ttlMs ?? 0) : lifetime(exchange, said),
    staleWhileRevalidateMs: windowMs(said.staleWhileRevalidate, rules.staleWhileRevalidateMs),
    staleIfErrorMs: windowMs(said.staleIfError, rules.staleIfErrorMs),
    mustRevalidate: saysStale && !isTtl,
    isShared: said.sMaxAge !== undefined,
    etag: lineOf(headers, "etag"),
    lastModified: lineOf(headers, "last-modified"),
    varyNames: names,
    varyValues: valuesUnder(names, header),
  };
}

/** What the target says of its own answer goes before what the policy says of all. */
function windowMs(seconds: number | undefined, fallbackMs: number): number {
  return seconds === undefined ? fallbackMs : seconds * 1000;
}

/** RFC 9110 §6.6.1: a recipient with a clock gives an answer without a date one. */
function datedLines(headers: HeaderLines, receivedMs: number): string[] {
  const named = membersOf(lineOf(headers, "connection")?.toLowerCase());
  const kept = withoutLines(headers, named.length === 0 ? framing : new Set([...framing, ...named]));
  if (lineOf(kept, "date") === undefined) kept.push("Date", new Date(receivedMs).toUTCString());
  return kept;
}

/** RFC 9111 §4.2.1, without §4.2.2. */
function lifetime(exchange: Exchange, said: CacheControl): number {
  if (said.noCache) return 0;
  const seconds = said.sMaxAge ?? said.maxAge;
  if (seconds !== undefined) return seconds * 1000;
  const expires = linesOf(exchange.headers, "expires");
  if (expires.length === 0) return 0;
  const times = expires.map(parseHttpDate);
  // Also `Expires: 0`, and two that differ: it has expired.
  if (times.some((time) => time === undefined || time !== times[0])) return 0;
  const date = parseHttpDate(lineOf(exchange.headers, "date")) ?? exchange.receivedMs;
  return Math.max(0, (times[0] as number) - date);
}

/** RFC 9111 §4.2.3. */
function initialAge({ headers, sentMs, receivedMs }: Exchange): number {
  const date = parseHttpDate(lineOf(headers, "date")) ?? receivedMs;
  const apparent = Math.max(0, receivedMs - date);
  const told = /^\s*(\d+)\s*(?:,|$)/.exec(linesOf(headers, "age")[0] ?? "")?.[1];
  const agedSeconds = told === undefined ? 0 : Math.min(Number(told), 2 ** 31);
  // Dates are of whole seconds: what was made a moment ago is not made older by that.
  const whole = apparent < 1000 ? 0 : apparent;
  return Math.max(whole, agedSeconds * 1000 + Math.max(0, receivedMs - sentMs));
}
