import type { Random } from "../../edges/random.ts";
import type { LoadBalancerSpec } from "../../resource/traffic.ts";
import type { Upstream } from "./upstream.ts";

type WarmupSpec = NonNullable<LoadBalancerSpec["warmup"]>;

/** The share of a full one that an instance gets, from `minimumPercent` to 1 (Envoy's slow start). */
export function warmthOf(upstream: Upstream, spec: WarmupSpec, nowMs: number): number {
  const sinceMs = upstream.warmingSinceMs;
  if (sinceMs === undefined) return 1;
  const spentMs = nowMs - sinceMs;
  if (spentMs >= spec.durationMs) {
    upstream.warmingSinceMs = undefined;
    return 1;
  }
  const grown = (Math.max(spentMs, 1) / spec.durationMs) ** (1 / spec.aggression);
  return Math.max(spec.minimumPercent / 100, grown);
}

/** One by chance, each by its weight. */
export function chooseByWeight<T>(
  items: readonly T[],
  weigh: (item: T) => number,
  random: Pick<Random, "next">,
): T {
  const weights = items.map(weigh);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  let left = random.next() * sum;
  for (const [index, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return items[index] as T;
  }
  return items[items.length - 1] as T;
}
