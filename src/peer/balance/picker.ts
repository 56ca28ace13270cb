import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { Instance } from "../instance.ts";
import { type Algorithm, createAlgorithm } from "./algorithm.ts";
import { ConsistentHash, newCookie } from "./consistent-hash.ts";
import { chooseLevel, type Level } from "./levels.ts";
import { Locality } from "./locality.ts";
import type { OutlierDetector } from "./outlier.ts";
import type { BalancingPolicy } from "./policy.ts";
import type { CallFacts, Upstream } from "./upstream.ts";
import { chooseByWeight, warmthOf } from "./warmup.ts";

export interface PickerOptions {
  policy: BalancingPolicy;
  clock: Clock;
  random: Random;
  /** The caller's own. */
  labels: Readonly<Record<string, string>>;
  outliers: OutlierDetector | undefined;
  panicked(): void;
}

/** Chooses for one call; `tried` ones are not chosen again. */
export type Pick = (
  all: readonly Upstream[],
  tried: ReadonlySet<Instance> | undefined,
) => Upstream | undefined;

const panicPercentDefault = 50;

/** Health first, then locality, then the algorithm. */
export class Picker {
  readonly #options: PickerOptions;
  readonly #algorithm: Algorithm;
  readonly #hash: ConsistentHash | undefined;
  readonly #locality: Locality | undefined;
  readonly #panicPercent: number;

  constructor(options: PickerOptions) {
    const { policy, labels } = options;
    const { loadBalancer, outlierDetection, healthCheck } = policy;
    this.#options = options;
    this.#algorithm = createAlgorithm(loadBalancer?.simple ?? "LEAST_REQUEST", options);
    this.#hash = loadBalancer?.consistentHash && new ConsistentHash(loadBalancer.consistentHash);
    const isWatched = outlierDetection !== undefined || healthCheck !== undefined;
    this.#locality =
      loadBalancer?.locality && isWatched ? new Locality(loadBalancer.locality, labels) : undefined;
    this.#panicPercent = loadBalancer?.panicThreshold ?? panicPercentDefault;
  }

  /** A call keeps its key through all its attempts. */
  begin(facts: CallFacts): Pick {
    const hash = this.#hashOf(facts);
    return (all, tried) => this.#pick(all, { tried, facts, hash });
  }

  #hashOf(facts: CallFacts): number | undefined {
    const spec = this.#options.policy.loadBalancer?.consistentHash;
    if (this.#hash === undefined || spec === undefined) return undefined;
    const hash = this.#hash.hashOf(facts);
    if (hash !== undefined || facts.setCookie === undefined) return hash;
    const cookie = newCookie(spec, this.#options.random);
    if (cookie !== undefined) facts.setCookie(cookie.setCookie);
    return cookie?.hash;
  }

  #pick(all: readonly Upstream[], wanted: Wanted): Upstream | undefined {
    const nowMs = this.#options.clock.monotonicMs();
    const healthy = this.#healthyOf(all, nowMs);
    const candidates = this.#candidates(all, healthy, wanted);
    if (candidates.length === 0) return undefined;
    const reachable = candidates.filter(({ instance }) => instance.suspectUntilMs <= nowMs);
    const chosen = reachable.length > 0 ? reachable : candidates;
    if (this.#hash !== undefined && wanted.hash !== undefined)
      return this.#hash.choose(wanted.hash, all, chosen);
    return this.#chooseWarm(chosen, nowMs);
  }

  #healthyOf(all: readonly Upstream[], nowMs: number): readonly Upstream[] {
    const { outliers, policy } = this.#options;
    const passing = all.some(({ check }) => check.isFailing)
      ? all.filter(({ check }) => !check.isFailing)
      : all;
    if (outliers === undefined) return passing;
    if (!passing.some((upstream) => outliers.isEjected(upstream, nowMs))) return passing;
    const kept = passing.filter((upstream) => !outliers.isEjected(upstream, nowMs));
    const minPercent = policy.outlierDetection?.minHealthPercent ?? 0;
    return kept.length * 100 < all.length * minPercent ? passing : kept;
  }

  /** What was tried is left out; what the call had before only when there is anything else. */
  #candidates(
    all: readonly Upstream[],
    healthy: readonly Upstream[],
    { tried, facts, hash }: Wanted,
  ): readonly Upstream[] {
    const { avoid } = facts;
    const near = this.#near(all, healthy, hash);
    if (tried === undefined && (avoid === undefined || avoid.size === 0)) return near;
    const fresh = (upstream: Upstream): boolean => !tried?.has(upstream.instance);
    const other = (upstream: Upstream): boolean =>
      fresh(upstream) && avoid?.has(upstream.instance.instanceId) !== true;
    const last = this.#panicPercent > 0 ? all : [];
    for (const [from, may] of [
      [near, other],
      [healthy, other],
      [near, fresh],
      [healthy, fresh],
      [last, fresh],
    ] as const) {
      const found = from.filter(may);
      if (found.length > 0) return found;
    }
    return [];
  }

  /** Of the level whose turn it is. */
  #near(
    all: readonly Upstream[],
    healthy: readonly Upstream[],
    hash: number | undefined,
  ): readonly Upstream[] {
    if (this.#locality === undefined && healthy.length === all.length) return all;
    // One key stays in one locality.
    const chance = hash === undefined ? this.#options.random.next() : hash / 2 ** 32;
    const isHealthy = new Set(healthy);
    const levels: Level[] = this.#locality?.levels(all, (one) => isHealthy.has(one), chance) ?? [
      { all: [...all], healthy: [...healthy] },
    ];
    const near = chooseLevel(levels, this.#panicPercent, chance);
    if (near.some((upstream) => !isHealthy.has(upstream))) this.#options.panicked();
    return near;
  }

  #chooseWarm(candidates: readonly Upstream[], nowMs: number): Upstream {
    const { policy, random } = this.#options;
    const warmup = policy.loadBalancer?.warmup;
    const isWarming =
      warmup !== undefined && candidates.some(({ warmingSinceMs }) => warmingSinceMs !== undefined);
    if (!isWarming) return this.#algorithm.choose(candidates);
    const weigh = (upstream: Upstream): number =>
      this.#algorithm.weigh(upstream) * warmthOf(upstream, warmup, nowMs);
    return chooseByWeight(candidates, weigh, random);
  }
}

interface Wanted {
  tried: ReadonlySet<Instance> | undefined;
  facts: CallFacts;
  hash: number | undefined;
}
