/** Keys whose last change is remembered one by one. */
const keysMax = 1000;

/** What changed since a request was sent: its answer tells of the time before and is not kept. */
export class Changes {
  readonly #byKey = new Map<string, number>();
  #sequence = 0;
  #all = 0;

  get now(): number {
    return this.#sequence;
  }

  note(key: string): void {
    if (this.#byKey.size >= keysMax) {
      this.#byKey.clear();
      this.#all = this.#sequence;
    }
    this.#byKey.set(key, ++this.#sequence);
  }

  noteAll(): void {
    this.#byKey.clear();
    this.#all = ++this.#sequence;
  }

  hasChanged(key: string, since: number): boolean {
    return Math.max(this.#all, this.#byKey.get(key) ?? 0) > since;
  }
}
