import type { JwtRule } from "../../resource/authentication.ts";

/** What is looked at for tokens. */
export interface TokenBearer {
  /** The query, without its question mark. */
  query: string;
  /** Every line of a name. */
  headers(lowerName: string): readonly string[];
}

export interface FoundToken {
  token: string;
  /** Rules that look where it stood. */
  rules: readonly JwtRule[];
  /** The headers it stood in; empty when it was elsewhere. */
  inHeaders: ReadonlySet<string>;
}

/** The different tokens that the rules' places have. */
export function tokensOf(rules: readonly JwtRule[], bearer: TokenBearer): FoundToken[] {
  const found = new Map<string, { rules: Set<JwtRule>; inHeaders: Set<string> }>();
  for (const rule of rules) {
    for (const { token, header } of tokensOfRule(rule, bearer)) {
      const entry = found.get(token) ?? { rules: new Set(), inHeaders: new Set() };
      entry.rules.add(rule);
      if (header !== undefined) entry.inHeaders.add(header);
      found.set(token, entry);
    }
  }
  return [...found].map(([token, entry]) => ({ token, rules: [...entry.rules], inHeaders: entry.inHeaders }));
}

interface PlacedToken {
  token: string;
  header?: string;
}

function tokensOfRule(rule: JwtRule, bearer: TokenBearer): PlacedToken[] {
  const { fromHeaders, fromParams, fromCookies } = rule;
  if (fromHeaders.length + fromParams.length + fromCookies.length === 0) {
    return [...inAuthorization(bearer), ...inParams(["access_token"], bearer)];
  }
  return [
    ...fromHeaders.flatMap(({ name, prefix }) =>
      bearer
        .headers(name)
        .filter((line) => line.startsWith(prefix) && line !== "")
        .map((line) => ({ token: line.slice(prefix.length).trim(), header: name })),
    ),
    ...inParams(fromParams, bearer),
    ...inCookies(fromCookies, bearer),
  ];
}

function inAuthorization(bearer: TokenBearer): PlacedToken[] {
  return bearer.headers("authorization").flatMap((line) => {
    const [, token] = /^bearer +(.*)$/i.exec(line) ?? [];
    return token === undefined ? [] : [{ token: token.trim(), header: "authorization" }];
  });
}

function inParams(names: readonly string[], { query }: TokenBearer): PlacedToken[] {
  if (names.length === 0 || query === "") return [];
  const params = new URLSearchParams(query);
  return names.flatMap((name) => params.getAll(name).map((token) => ({ token })));
}

function inCookies(names: readonly string[], bearer: TokenBearer): PlacedToken[] {
  if (names.length === 0) return [];
  const pairs = bearer.headers("cookie").flatMap((line) => line.split(";"));
  return pairs.flatMap((pair) => {
    const [name = "", ...value] = pair.trim().split("=");
    return names.includes(name) ? [{ token: value.join("=").replace(/^"(.*)"$/, "$1") }] : [];
  });
}
