import type { CacheSpec } from "../../resource/traffic.ts";

export type KeyRules = Pick<CacheSpec["key"], "queryInclude" | "queryExclude">;

/** Of the parts of a key: no id, target or header value can hold it. */
const separator = "\n";

/** What an answer is kept under: whom it was asked of, and the target with what counts of its query, within a scope. */
export function answerKey(id: string, target: string, rules: KeyRules, scope = ""): string {
  const hasRules = rules.queryInclude.length > 0 || rules.queryExclude.length > 0;
  const key = id + separator + (hasRules ? keyedTarget(target, rules) : target);
  return scope === "" ? key : key + separator + scope;
}

export function variantKey(key: string, variant: string, values: readonly string[]): string {
  return [key, variant, ...values].join(separator);
}

/** The path of a key, as it was asked for. */
export function placeOfKey(key: string): { id: string; path: string } {
  const [id = "", target = ""] = key.split(separator, 2);
  const query = target.indexOf("?");
  return { id, path: query < 0 ? target : target.slice(0, query) };
}

/** Pairs keep their order and spelling: what differs in it is kept twice, never mixed up. */
function keyedTarget(target: string, { queryInclude, queryExclude }: KeyRules): string {
  const mark = target.indexOf("?");
  if (mark < 0) return target;
  const pairs = target
    .slice(mark + 1)
    .split("&")
    .filter((pair) => {
      const name = nameOf(pair);
      return queryInclude.length > 0 ? queryInclude.includes(name) : !queryExclude.includes(name);
    });
  const path = target.slice(0, mark);
  return pairs.length === 0 ? path : `${path}?${pairs.join("&")}`;
}

function nameOf(pair: string): string {
  const raw = pair.split("=", 1)[0] ?? "";
  try {
    return decodeURIComponent(raw.replaceAll("+", " "));
  } catch {
    return raw;
  }
}

/** What an answered write makes untrue besides its own target (RFC 9111 §4.4): of the same origin only. */
export function alsoChanged(target: string, host: string | undefined, reference: string): string | undefined {
  const origin = `http://${host ?? "target.invalid"}`;
  try {
    const url = new URL(reference, origin + target);
    // Whether the target speaks TLS is not known here, and says nothing of whose it is.
    const isSame = url.host === new URL(origin).host || url.host === new URL(`https://${host}`).host;
    return isSame ? url.pathname + url.search : undefined;
  } catch {
    return undefined;
  }
}
