import type { Random } from "../../edges/random.ts";
import type { Algorithm } from "./algorithm.ts";
import { betterOfTwo } from "./random-choice.ts";
import type { Upstream } from "./upstream.ts";

/** Up to as many all are looked at, as without a policy; of more the better of two is taken. */
const scannedMax = 64;

/** The one with the fewest calls under way, in turn when equal. */
export class LeastRequest implements Algorithm {
  readonly #random: Random;
  #turn = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  choose(candidates: readonly Upstream[]): Upstream {
    if (candidates.length > scannedMax) return betterOfTwo(candidates, this.#random, ({ active }) => active);
    const start = this.#turn++;
    let best = candidates[start % candidates.length] as Upstream;
    for (let i = 1; i < candidates.length; i++) {
      const candidate = candidates[(start + i) % candidates.length] as Upstream;
      if (candidate.active < best.active) best = candidate;
    }
    return best;
  }

  weigh({ active }: Upstream): number {
    return 1 / (active + 1);
  }
}
