import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { LoadBalancerSpec } from "../../resource/traffic.ts";
import { LeastRequest } from "./least-request.ts";
import { PeakEwma } from "./peak-ewma.ts";
import { RandomChoice } from "./random-choice.ts";
import { RoundRobin } from "./round-robin.ts";
import type { Upstream } from "./upstream.ts";

/** Chooses one of several that may all be called; there is at least one. */
export interface Algorithm {
  choose(candidates: readonly Upstream[]): Upstream;
  /** Its share against others while some are warming up and chance decides. */
  weigh(upstream: Upstream): number;
}

export function createAlgorithm(
  name: LoadBalancerSpec["simple"],
  { clock, random }: { clock: Clock; random: Random },
): Algorithm {
  if (name === "ROUND_ROBIN") return new RoundRobin();
  if (name === "RANDOM") return new RandomChoice(random);
  return name === "PEAK_EWMA" ? new PeakEwma(clock, random) : new LeastRequest(random);
}
