import type { Random } from "../../edges/random.ts";
import type { Algorithm } from "./algorithm.ts";
import type { Upstream } from "./upstream.ts";

export class RandomChoice implements Algorithm {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  choose(candidates: readonly Upstream[]): Upstream {
    return candidates[Math.floor(this.#random.next() * candidates.length)] as Upstream;
  }

  weigh(): number {
    return 1;
  }
}

/** Two different ones at random; the better of two is nearly as good as the best of all, and costs the same for any number. */
export function betterOfTwo(
  candidates: readonly Upstream[],
  random: Random,
  costOf: (upstream: Upstream) => number,
): Upstream {
  const first = Math.floor(random.next() * candidates.length);
  if (candidates.length === 1) return candidates[first] as Upstream;
  const second = (first + 1 + Math.floor(random.next() * (candidates.length - 1))) % candidates.length;
  const [one, other] = [candidates[first] as Upstream, candidates[second] as Upstream];
  return costOf(other) < costOf(one) ? other : one;
}
