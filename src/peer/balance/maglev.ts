import { hashKey } from "./hash-key.ts";
import type { HashTable } from "./hash-table.ts";

/** Maglev's table (research.google/pubs/pub44824): members take slots in turn, each in an order of its own. */
export function maglevTable(ids: readonly string[], size: number): HashTable {
  const owners = new Uint32Array(size);
  const isTaken = new Uint8Array(size);
  const orders = ids.map((id) => ({
    at: hashKey(id, "offset") % size,
    step: (hashKey(id, "skip") % (size - 1)) + 1,
  }));
  for (let taken = 0; taken < size && orders.length > 0; ) {
    for (let owner = 0; owner < orders.length && taken < size; owner++) {
      const order = orders[owner] as { at: number; step: number };
      while (isTaken[order.at] === 1) order.at = (order.at + order.step) % size;
      isTaken[order.at] = 1;
      owners[order.at] = owner;
      taken++;
    }
  }
  return { size, slotOf: (hash) => hash % size, ownerAt: (slot) => owners[slot] as number };
}
