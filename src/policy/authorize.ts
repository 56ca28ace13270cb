import { timingSafeEqual } from "node:crypto";
import type { ApiRule, Configuration } from "../resource/resource.ts";
import type { Layer } from "./layer.ts";

/** Callers have to present an API token (dapr-api.md §2, §4.1). Health probes over HTTP need none. */
export const authorize: Layer = {
  name: "authorize",
  wrap(next, subject) {
    const isOpen = subject.apiTokens().length === 0;
    if (isOpen || (subject.isProbe && subject.protocol === "http")) return undefined;
    const isRight = tokenCheck(() => subject.apiTokens());
    return (call) => {
      const given = call.header("dapr-api-token");
      if (given === undefined) return subject.refuse("missing");
      return isRight(given) ? next(call) : subject.refuse("mismatch");
    };
  },
};

/** Compares in a time that does not depend on where two tokens of one length differ. */
export function tokenCheck(tokens: () => readonly string[]): (given: string) => boolean {
  let known = tokens();
  let expected = known.map((token) => Buffer.from(token));
  return (given) => {
    const current = tokens();
    if (current !== known) {
      known = current;
      expected = current.map((token) => Buffer.from(token));
    }
    const bytes = Buffer.from(given);
    let isRight = false;
    for (const token of expected) {
      if (bytes.length === token.length && timingSafeEqual(bytes, token)) isRight = true;
    }
    return isRight;
  };
}

/** What the lists of `Configuration.spec.api` judge. */
export interface ListedApi {
  protocol: "http" | "grpc";
  group: { name: string; version: string };
  /** HTTP path pattern, for rules that name the beginning of a path. */
  path?: string;
}

/** Whether the lists leave an endpoint in. Health probes always stay. */
export function isApiAllowed(lists: Configuration["api"], api: ListedApi): boolean {
  if (api.group.name === "healthz") return true;
  const allowed = lists.allowed.filter(({ protocol }) => protocol === api.protocol);
  const isListed = allowed.length === 0 || allowed.some((rule) => matches(rule, api));
  return isListed && !lists.denied.some((rule) => rule.protocol === api.protocol && matches(rule, api));
}

function matches(rule: ApiRule, { protocol, group, path }: ListedApi): boolean {
  if (rule.name === group.name && rule.version === group.version) return true;
  return protocol === "http" && path !== undefined && path.startsWith(`/${rule.version}/${rule.name}`);
}
