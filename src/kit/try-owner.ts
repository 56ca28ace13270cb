/** What of a call's tries a policy may say: how often there is one, and how long it may take. */
export type TrySubject = "retries" | "timeouts";

const nobody = -1;

/**
 * Who decides about the tries of one call: of several policies on its way the nearest one, which has the highest rank. Those
 * farther out may have begun before it is known.
 */
export class TryOwner {
  readonly #ranks: Record<TrySubject, number> = { retries: nobody, timeouts: nobody };
  /** How to take back what a policy of a rank has begun. */
  #lifts: Map<number, () => void> | undefined;

  /** False: a nearer policy has the say. */
  claim(subject: TrySubject, rank: number): boolean {
    if (this.#ranks[subject] > rank) return false;
    this.#ranks[subject] = rank;
    for (const [other, lift] of this.#lifts ?? []) {
      if (other >= rank) continue;
      this.#lifts?.delete(other);
      lift();
    }
    return true;
  }

  /** Whether no nearer policy has come since. */
  owns(subject: TrySubject, rank: number): boolean {
    return this.#ranks[subject] === rank;
  }

  /** `lift` is called when a nearer policy has the say, about whichever; at once when it has already. */
  whenLost(rank: number, lift: () => void): void {
    const { retries, timeouts } = this.#ranks;
    if (Math.max(retries, timeouts) > rank) {
      lift();
      return;
    }
    this.#lifts ??= new Map();
    this.#lifts.set(rank, lift);
  }

  /** The call is made once more from outside of all of them. */
  begin(): void {
    this.#ranks.retries = nobody;
    this.#ranks.timeouts = nobody;
    this.#lifts?.clear();
  }
}
