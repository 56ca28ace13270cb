import type { StoredAnswer } from "./stored.ts";

/** Stands under the key of answers that vary: by which names, and under which name their variants are found. */
export interface Variants {
  names: readonly string[];
  /** Chance: what was kept before a deletion is not found after it. */
  variant: string;
}

export type Found = StoredAnswer | Variants;

export function isVariants(found: Found): found is Variants {
  return "variant" in found;
}

/** What is to be forgotten. */
export type Purge = { tag: string } | { id: string; path?: string | undefined };

/** Where answers are kept. Nothing here fails: a store that is not there has nothing. */
export interface AnswerStore {
  /** At once when it is in memory. */
  get(key: string): Found | undefined | Promise<Found | undefined>;
  /** `retainMs`: how long it can be of use. */
  put(key: string, found: Found, retainMs: number): void;
  delete(key: string): void;
  /** How many answers went, when that is known. Rejects when it can not be done. */
  purge(purge: Purge): Promise<number | undefined>;
  size(): { entries: number; bytes: number } | undefined;
}
