import { hashKey } from "./hash-key.ts";
import type { HashTable } from "./hash-table.ts";

/** A ring of points, as many of each member, at least `minimumSize` together. Who goes leaves its arcs to the next. */
export function ringTable(ids: readonly string[], minimumSize: number): HashTable {
  // A power of two: the points of those who stay are the same when another comes or goes, but for a doubling.
  const each = 2 ** Math.ceil(Math.log2(Math.max(1, minimumSize / Math.max(1, ids.length))));
  const points = ids.flatMap((id, owner) =>
    Array.from({ length: each }, (_, index) => ({ at: hashKey(id, `point ${index}`), owner })),
  );
  points.sort((a, b) => a.at - b.at || a.owner - b.owner);
  const places = Uint32Array.from(points, ({ at }) => at);
  const owners = Uint32Array.from(points, ({ owner }) => owner);
  return {
    size: owners.length,
    slotOf: (hash) => firstFrom(places, hash) % Math.max(1, places.length),
    ownerAt: (slot) => owners[slot] as number,
  };
}

/** The index of the first place that is not below the hash. */
function firstFrom(places: Uint32Array, hash: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((places[middle] as number) < hash) low = middle + 1;
    else high = middle;
  }
  return low;
}
