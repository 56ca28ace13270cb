import type { Delivery } from "../store.ts";

export interface Claimed {
  deliveries: Delivery[];
  /** There is nothing more to find now. */
  exhausted: boolean;
  freshUntilMs: number;
}

/** A claim that waits for messages. */
export interface StandingClaim {
  /** Set once the claim is on its way. */
  made?: Promise<Claimed>;
  make(): Promise<Claimed>;
}

/**
 * Claims that wait for a message of their topic. When one is about to be appended by this process, the first claim of
 * each group goes with it in the same transaction: published and delivered with one sync to disk instead of two.
 */
export class StandingClaims {
  readonly #waiting = new Map<string, Map<string, Set<StandingClaim>>>();

  /** Returns the function that takes the claim back. */
  add(topic: string, group: string, claim: StandingClaim): () => void {
    const groups = this.#waiting.get(topic) ?? new Map<string, Set<StandingClaim>>();
    const claims = groups.get(group) ?? new Set();
    this.#waiting.set(topic, groups.set(group, claims.add(claim)));
    return () => this.#remove(topic, group, claim);
  }

  makeFor(topics: ReadonlySet<string>): void {
    for (const topic of topics) {
      for (const [group, claims] of this.#waiting.get(topic) ?? []) {
        const [first] = claims;
        if (!first) continue;
        this.#remove(topic, group, first);
        first.made = first.make();
        // Who waits learns of a failure by awaiting `made`; nobody may be waiting any more.
        first.made.catch(() => undefined);
      }
    }
  }

  #remove(topic: string, group: string, claim: StandingClaim): void {
    const groups = this.#waiting.get(topic);
    const claims = groups?.get(group);
    claims?.delete(claim);
    if (claims?.size === 0) groups?.delete(group);
    if (groups?.size === 0) this.#waiting.delete(topic);
  }
}
