/** The messages of one subscription that are being handled; those of one partition key one after the other. */
export class MessagesAtWork {
  readonly #work = new Map<unknown, Promise<void>>();
  /** The last message at work of each partition key. */
  readonly #last = new Map<string, Promise<void>>();

  get size(): number {
    return this.#work.size;
  }

  has(id: unknown): boolean {
    return this.#work.has(id);
  }

  /** `handle` never rejects. */
  start(id: unknown, partitionKey: string | undefined, handle: () => Promise<void>): void {
    const before = partitionKey === undefined ? undefined : this.#last.get(partitionKey);
    const work = (before ?? Promise.resolve()).then(handle);
    this.#work.set(id, work);
    if (partitionKey !== undefined) this.#last.set(partitionKey, work);
    void work.then(() => {
      this.#work.delete(id);
      if (partitionKey !== undefined && this.#last.get(partitionKey) === work)
        this.#last.delete(partitionKey);
    });
  }

  /** When one of them is done. */
  one(): Promise<void> {
    return Promise.race(this.#work.values());
  }

  /** When those that are there now are done. */
  async all(): Promise<void> {
    await Promise.all(this.#work.values());
  }
}
