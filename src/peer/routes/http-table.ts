import type { HttpRouteMatch, ValueMatch } from "../../resource/route.ts";
import { compileRegex } from "../../resource/route-filters.ts";
import { canonicalTarget } from "../method-path.ts";
import { hostnamesFor } from "./hostname.ts";
import type { CompiledRule } from "./rule.ts";

/** What of a request routes look at. */
export interface HttpFacts {
  /** Canonical, without the query. */
  path: string;
  /** Without its question mark. */
  query: string;
  method: string;
  /** Of the Host header, lower case and without a port; looked at where routes name hosts. */
  hostname: string;
  header(lowerName: string): string | undefined;
}

export interface HttpFound {
  rule: CompiledRule;
  /** What a matching prefix took of the path, without a slash at its end. */
  prefix: string;
}

/** A match of a rule with what its precedence depends on. */
export interface HttpEntry {
  match: HttpRouteMatch;
  rule: CompiledRule;
  /** Empty: any. */
  hostname: string;
  createdAtMs: number;
  /** `namespace/name` of the route. */
  routeName: string;
}

/** A value longer than this matches no regular expression: backtracking has to have an end. */
const regexCharsMax = 4096;

/** Finds the rule of a request by the precedence of the standard: host, path, method, headers, query, age, name. */
export class HttpTable {
  readonly #byHost = new Map<string, PathTable>();
  readonly #hasHosts: boolean;
  /** Which its rules ask for, lower case. */
  readonly headerNames: readonly string[];

  /** Entries of one route come in the order of its rules and matches. */
  constructor(entries: readonly HttpEntry[], keepsSlash: boolean) {
    for (const hostname of new Set(entries.map((entry) => entry.hostname))) {
      const of = entries.filter((entry) => entry.hostname === hostname);
      this.#byHost.set(hostname, new PathTable(of, keepsSlash));
    }
    const names = entries.flatMap(({ match }) => match.headers.map(({ name }) => name.toLowerCase()));
    this.headerNames = [...new Set(names)];
    this.#hasHosts = entries.some(({ hostname }) => hostname !== "");
  }

  find(facts: HttpFacts): HttpFound | undefined {
    if (!this.#hasHosts) return this.#byHost.get("")?.find(facts);
    for (const hostname of hostnamesFor(facts.hostname)) {
      const found = this.#byHost.get(hostname)?.find(facts);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

interface Candidate extends HttpFound {
  isMatch(facts: HttpFacts): boolean;
}

class PathTable {
  readonly #exact = new Map<string, Candidate[]>();
  readonly #others: Candidate[] = [];

  constructor(entries: readonly HttpEntry[], keepsSlash: boolean) {
    for (const entry of [...entries].sort(byPrecedence)) {
      const { type, value } = entry.match.path;
      if (type === "Exact") {
        const path = keepsSlash ? value : canonicalTarget(value);
        this.#exact.set(path, [...(this.#exact.get(path) ?? []), candidate(entry, "", () => true)]);
      } else if (type === "PathPrefix") {
        const prefix = canonicalTarget(value).replace(/\/$/, "");
        this.#others.push(candidate(entry, prefix, (path) => isBelow(path, prefix)));
      } else {
        const regex = compileRegex(value);
        const isPath = (path: string): boolean => path.length <= regexCharsMax && regex.test(path);
        this.#others.push(candidate(entry, "", isPath));
      }
    }
  }

  find(facts: HttpFacts): HttpFound | undefined {
    return (
      this.#exact.get(facts.path)?.find((one) => one.isMatch(facts)) ??
      this.#others.find((one) => one.isMatch(facts))
    );
  }
}

/** By whole segments: `/foo` takes `/foo` and `/foo/bar`, not `/foobar`. */
function isBelow(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 47);
}

function candidate(entry: HttpEntry, prefix: string, isPath: (path: string) => boolean): Candidate {
  const { match, rule } = entry;
  const headers = distinct(match.headers, (name) => name.toLowerCase());
  const params = distinct(match.queryParams, (name) => name);
  const areHeaders = headers.map(
    ({ name, isValue }) =>
      (facts: HttpFacts) =>
        isValue(facts.header(name)),
  );
  return {
    rule,
    prefix,
    isMatch(facts) {
      if (!isPath(facts.path) || (match.method !== "" && match.method !== facts.method)) return false;
      if (!areHeaders.every((isHeader) => isHeader(facts))) return false;
      if (params.length === 0) return true;
      const given = new URLSearchParams(facts.query);
      return params.every(({ name, isValue }) => isValue(given.get(name) ?? undefined));
    },
  };
}

/** Of several entries of one name the first counts. */
export function distinct(
  matches: readonly ValueMatch[],
  nameOf: (name: string) => string,
): { name: string; isValue(value: string | undefined): boolean }[] {
  const byName = new Map<string, ValueMatch>();
  for (const match of matches) {
    const name = nameOf(match.name);
    if (!byName.has(name)) byName.set(name, match);
  }
  return [...byName].map(([name, { value, isRegex }]) => ({ name, isValue: valueMatcher(value, isRegex) }));
}

/** Absent values match nothing, not even an empty text. */
export function valueMatcher(wanted: string, isRegex: boolean): (value: string | undefined) => boolean {
  if (!isRegex) return (value) => value === wanted;
  const regex = compileRegex(wanted);
  return (value) => value !== undefined && value.length <= regexCharsMax && regex.test(value);
}

const pathRanks = { Exact: 0, RegularExpression: 1, PathPrefix: 2 };

/** Sorting is stable: what is equal stays in the order of the route. */
function byPrecedence(a: HttpEntry, b: HttpEntry): number {
  return (
    pathRanks[a.match.path.type] - pathRanks[b.match.path.type] ||
    b.match.path.value.length - a.match.path.value.length ||
    Number(b.match.method !== "") - Number(a.match.method !== "") ||
    b.match.headers.length - a.match.headers.length ||
    b.match.queryParams.length - a.match.queryParams.length ||
    byAge(a, b)
  );
}

/** The older route, then the one whose name comes first. */
export function byAge(
  a: Pick<HttpEntry, "createdAtMs" | "routeName">,
  b: Pick<HttpEntry, "createdAtMs" | "routeName">,
): number {
  if (a.createdAtMs !== b.createdAtMs) return a.createdAtMs < b.createdAtMs ? -1 : 1;
  return a.routeName < b.routeName ? -1 : Number(a.routeName > b.routeName);
}
