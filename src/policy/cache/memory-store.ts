import type { AnswerStore, Found, Purge } from "./answer-store.ts";
import { isVariants } from "./answer-store.ts";
import { placeOfKey } from "./cache-key.ts";

/** What an entry costs besides its text and bytes, roughly. */
const entryOverheadBytes = 512;
const wordOverheadBytes = 16;

interface Entry {
  found: Found;
  bytes: number;
  /** How much had been put when it was last asked for. */
  usedAt: number;
}

/** Answers in memory, within a number of bytes; the ones that were not asked for longest go first. */
export class MemoryStore implements AnswerStore {
  readonly #bytesMax: number;
  /** The order of a Map is the order of use. */
  readonly #entries = new Map<string, Entry>();
  readonly #tagged = new Map<string, Set<string>>();
  #bytes = 0;
  #puts = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get(key: string): Found | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // Only what comes in pushes others out: between two puts the order of use does not matter.
    if (entry.usedAt !== this.#puts) {
      entry.usedAt = this.#puts;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return entry.found;
  }

  put(key: string, found: Found): void {
    this.delete(key);
    const bytes = bytesOf(key, found);
    if (bytes > this.#bytesMax) return;
    this.#entries.set(key, { found, bytes, usedAt: ++this.#puts });
    this.#bytes += bytes;
    if (!isVariants(found)) for (const tag of found.tags) this.#keysOf(tag).add(key);
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    if (isVariants(entry.found)) return;
    for (const tag of entry.found.tags) this.#untag(tag, key);
  }

  async purge(purge: Purge): Promise<number> {
    const keys = "tag" in purge ? [...(this.#tagged.get(purge.tag) ?? [])] : this.#keysAt(purge);
    for (const key of keys) this.delete(key);
    return keys.length;
  }

  size(): { entries: number; bytes: number } {
    return { entries: this.#entries.size, bytes: this.#bytes };
  }

  #keysAt(purge: { id: string; path?: string | undefined }): string[] {
    return [...this.#entries.keys()].filter((key) => {
      const { id, path } = placeOfKey(key);
      return id === purge.id && (purge.path === undefined || path === purge.path);
    });
  }

  #keysOf(tag: string): Set<string> {
    let keys = this.#tagged.get(tag);
    if (keys === undefined) {
      keys = new Set();
      this.#tagged.set(tag, keys);
    }
    return keys;
  }

  #untag(tag: string, key: string): void {
    const keys = this.#tagged.get(tag);
    keys?.delete(key);
    if (keys?.size === 0) this.#tagged.delete(tag);
  }
}

function bytesOf(key: string, found: Found): number {
  let words = key.length * 2;
  if (isVariants(found)) return words + textBytes(found.names) + entryOverheadBytes;
  words += textBytes(found.headers) + textBytes(found.varyValues) + textBytes(found.varyNames);
  // A tag costs its text and a place in the index.
  words += textBytes(found.tags) + found.tags.length * (key.length + entryOverheadBytes / 4);
  return found.body.length + words + entryOverheadBytes;
}

function textBytes(texts: readonly string[]): number {
  return texts.reduce((total, text) => total + text.length + wordOverheadBytes, 0);
}
