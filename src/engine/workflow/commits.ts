import type { Mutation, Outcome, Store } from "../store/store.ts";
import { workers } from "./names.ts";

/** Writes for the workflow engine: a log has its consumer group before its first message, so that none is missed. */
export class Commits {
  readonly #store: Store;
  readonly #grouped = new Map<string, Promise<void>>();
  #pending = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Commits that are under way. */
  get pending(): number {
    return this.#pending;
  }

  async commit(mutations: readonly Mutation[]): Promise<Outcome[]> {
    for (const mutation of mutations) {
      if (mutation.kind === "append" && this.#grouped.get(mutation.topic) !== ready) {
        await this.ensureGroup(mutation.topic);
      }
    }
    this.#pending += 1;
    try {
      return await this.#store.commit(mutations);
    } finally {
      this.#pending -= 1;
    }
  }

  async ensureGroup(topic: string): Promise<void> {
    let ensured = this.#grouped.get(topic);
    if (ensured === undefined) {
      ensured = this.#store.ensureGroup(topic, workers, "earliest");
      this.#grouped.set(topic, ensured);
      ensured.then(
        () => this.#grouped.set(topic, ready),
        () => this.#grouped.delete(topic),
      );
    }
    await ensured;
  }
}

const ready = Promise.resolve();
