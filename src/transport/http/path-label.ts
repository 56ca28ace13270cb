import { createPathMatcher } from "../../kit/path-patterns.ts";
import type { Configuration } from "../../resource/resource.ts";

/** The `path` label of a request: from its path and the raw value of its first parameter. */
export type PathLabel = (path: string, first: string) => string;

type HttpMetrics = Configuration["metrics"]["http"];

/** Labelled with their path whatever the Configuration says: there are only these. */
const fixedPaths = new Set(["/dapr/config", "/dapr/metrics", "/dapr/subscribe", "/healthz"]);

/** How Dapr labels paths in metrics (dapr-api.md §16.1): keys and secret names stay out, the rest is as it was sent. */
export function pathLabels(http: HttpMetrics): (pattern: string) => PathLabel {
  const chosen = matcherOf(http.pathMatching);
  return (pattern) => {
    const whole = plainLabel(pattern);
    const plain = http.increasedCardinality ? whole : () => "";
    if (chosen === undefined) return plain;
    // A pattern may name a store, whose keys are not part of the label.
    return (path, first) => chosen(path) ?? chosen(whole(path, first)) ?? plain(path, first);
  };
}

/** The same for the paths of an app that mecha calls. */
export function appPathLabel(http: HttpMetrics): (path: string) => string {
  const chosen = matcherOf(http.pathMatching);
  return (path) => {
    if (fixedPaths.has(path)) return path;
    return chosen?.(path) ?? (http.increasedCardinality ? path : "");
  };
}

/** A pattern of an app's path stands for its invocations too, as in Dapr. */
function matcherOf(patterns: readonly string[]): ((path: string) => string | undefined) | undefined {
  if (patterns.length === 0) return undefined;
  const clean = patterns.map((pattern) => `/${pattern}`.replace(/\/{2,}/g, "/"));
  const own = clean.filter((pattern) => !pattern.startsWith("/v1.0/invoke/"));
  const invoked = own.map((pattern) => `/v1.0/invoke/{app_id}/method${pattern}`);
  return createPathMatcher([...new Set([...clean, ...invoked])]);
}

function plainLabel(pattern: string): PathLabel {
  const store = /^\/[^/]+\/(?:state|secrets)\/(?=\{)/.exec(pattern)?.[0];
  if (store !== undefined) return (_path, first) => store + first;
  return (path) => path;
}
