import type { Configuration } from "../../resource/resource.ts";
import { Router } from "./router.ts";

/** The `path` label of a request: from its path, the raw value of its first parameter and its verb. */
export type PathLabel = (path: string, first: string, verb: string) => string;

/** How Dapr labels paths in metrics (dapr-api.md §16.1): keys and secret names stay out, the rest is as it was sent. */
export function pathLabels(http: Configuration["metrics"]["http"]): (pattern: string) => PathLabel {
  const chosen = http.pathMatching.length === 0 ? undefined : new Router<string>();
  for (const pattern of http.pathMatching) chosen?.add("any", pattern, pattern);
  return (pattern) => {
    const plain = http.increasedCardinality ? plainLabel(pattern) : () => "";
    if (chosen === undefined) return plain;
    return (path, first, verb) => chosen.find(verb, path)?.route ?? plain(path, first, verb);
  };
}

function plainLabel(pattern: string): PathLabel {
  const store = /^\/[^/]+\/(?:state|secrets)\/(?=\{)/.exec(pattern)?.[0];
  if (store !== undefined) return (_path, first) => store + first;
  return (path) => path;
}
