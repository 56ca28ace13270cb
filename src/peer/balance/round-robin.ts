import type { Algorithm } from "./algorithm.ts";
import type { Upstream } from "./upstream.ts";

export class RoundRobin implements Algorithm {
  #turn = 0;

  choose(candidates: readonly Upstream[]): Upstream {
    return candidates[this.#turn++ % candidates.length] as Upstream;
  }

  weigh(): number {
    return 1;
  }
}
