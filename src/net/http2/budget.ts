/** How often something that costs us more than the peer may happen: a burst, and so many a second. */
export class Budget {
  readonly #burst: number;
  readonly #perMs: number;
  #left: number;
  #atMs = performance.now();

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1000;
    this.#left = burst;
  }

  /** False when it is used up. */
  spend(): boolean {
    if (this.#left < 1) {
      const nowMs = performance.now();
      this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#atMs) * this.#perMs);
      this.#atMs = nowMs;
      if (this.#left < 1) return false;
    }
    this.#left--;
    return true;
  }
}
