/** Counts of the last while, in slots that fall out one after the other. */
export class SlidingCount {
  readonly #slotMs: number;
  readonly #counts: number[];
  #slot = 0;
  #total = 0;

  constructor(windowMs: number, slots: number) {
    this.#slotMs = windowMs / slots;
    this.#counts = new Array<number>(slots).fill(0);
  }

  add(nowMs: number, count = 1): void {
    this.#moveTo(nowMs);
    const index = this.#slot % this.#counts.length;
    this.#counts[index] = (this.#counts[index] as number) + count;
    this.#total += count;
  }

  total(nowMs: number): number {
    this.#moveTo(nowMs);
    return this.#total;
  }

  #moveTo(nowMs: number): void {
    const slot = Math.floor(nowMs / this.#slotMs);
    const { length } = this.#counts;
    const passed = Math.min(slot - this.#slot, length);
    for (let i = 1; i <= passed; i++) {
      const index = (this.#slot + i) % length;
      this.#total -= this.#counts[index] as number;
      this.#counts[index] = 0;
    }
    // A long pause empties all slots, wherever it began.
    if (slot > this.#slot) this.#slot = slot;
  }
}
