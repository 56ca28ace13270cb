import type { ConsistentHashSpec } from "../../resource/traffic.ts";
import { maglevTable } from "./maglev.ts";
import { ringTable } from "./ring.ts";

/** Slots that members own. A key's slot is its member's; the slots after it are where it goes when that one can not. */
export interface HashTable {
  readonly size: number;
  slotOf(hash: number): number;
  /** The index of a member. */
  ownerAt(slot: number): number;
}

/** The same for the same ids, in whatever process: they are given in order. */
export function createHashTable(ids: readonly string[], spec: ConsistentHashSpec["table"]): HashTable {
  return spec.kind === "ring" ? ringTable(ids, spec.minimumRingSize) : maglevTable(ids, spec.tableSize);
}
