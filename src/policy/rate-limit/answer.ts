import type { RateLimitSpec } from "../../resource/rate-limit.ts";
import type { Verdict } from "./limiter.ts";

/** The header lines of draft-ietf-httpapi-ratelimit-headers-03 with Envoy's `X-`, and when to come again. */
export function limitLines(verdict: Verdict, { hasHeaders }: RateLimitSpec["onLimit"]): string[] {
  const { rule, taken, isAllowed } = verdict;
  if (rule === undefined || taken === undefined) return [];
  const lines = isAllowed ? [] : ["Retry-After", String(seconds(Math.max(1, taken.waitMs)))];
  // Nobody has counted: there is nothing to tell.
  if (!hasHeaders || taken.isAway) return lines;
  const { requests, perMs } = rule;
  lines.push("X-RateLimit-Limit", `${requests}, ${requests};w=${seconds(perMs)}`);
  lines.push("X-RateLimit-Remaining", String(isAllowed ? taken.remaining : 0));
  lines.push("X-RateLimit-Reset", String(seconds(taken.resetMs)));
  return lines;
}

export function limitText(policy: string, { rule, taken }: Verdict): string {
  if (taken?.isAway) return `the counters of rate limit ${policy} can not be reached`;
  const { requests = 0, perMs = 0 } = rule ?? {};
  return `rate limit ${policy}: more than ${requests} in ${shown(perMs)}`;
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}

function shown(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
