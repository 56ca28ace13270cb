import type { GrpcRouteMatch } from "../../resource/route.ts";
import { hostnamesFor } from "./hostname.ts";
import { byAge, distinct, valueMatcher } from "./http-table.ts";
import type { CompiledRule } from "./rule.ts";

export interface GrpcFacts {
  /** `/package.Service/Method`. */
  path: string;
  hostname: string;
  header(lowerName: string): string | undefined;
}

export interface GrpcEntry {
  match: GrpcRouteMatch;
  rule: CompiledRule;
  hostname: string;
  createdAtMs: number;
  routeName: string;
}

/** Finds the rule of a call: host, service, method, headers, age, name. */
export class GrpcTable {
  readonly #byHost = new Map<string, Candidate[]>();

  constructor(entries: readonly GrpcEntry[]) {
    for (const entry of [...entries].sort(byPrecedence)) {
      const of = this.#byHost.get(entry.hostname) ?? [];
      of.push(candidate(entry));
      this.#byHost.set(entry.hostname, of);
    }
  }

  find(facts: GrpcFacts): CompiledRule | undefined {
    const [, service = "", method = ""] = facts.path.split("/");
    for (const hostname of hostnamesFor(facts.hostname)) {
      const found = this.#byHost.get(hostname)?.find((one) => one.isMatch(service, method, facts));
      if (found !== undefined) return found.rule;
    }
    return undefined;
  }
}

interface Candidate {
  rule: CompiledRule;
  isMatch(service: string, method: string, facts: GrpcFacts): boolean;
}

function candidate({ match, rule }: GrpcEntry): Candidate {
  const { isRegex, service, method } = match.method;
  const isService = service === "" ? always : valueMatcher(service, isRegex);
  const isMethod = method === "" ? always : valueMatcher(method, isRegex);
  const headers = distinct(match.headers, (name) => name.toLowerCase());
  return {
    rule,
    isMatch: (asked, called, facts) =>
      isService(asked) &&
      isMethod(called) &&
      headers.every(({ name, isValue }) => isValue(facts.header(name))),
  };
}

const always = (): boolean => true;

function byPrecedence(a: GrpcEntry, b: GrpcEntry): number {
  const [one, other] = [a.match.method, b.match.method];
  return (
    Number(one.isRegex) - Number(other.isRegex) ||
    other.service.length - one.service.length ||
    other.method.length - one.method.length ||
    b.match.headers.length - a.match.headers.length ||
    byAge(a, b)
  );
}
