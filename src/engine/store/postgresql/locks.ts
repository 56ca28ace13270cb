/**
 * Advisory locks: a class for each schema, in it a bounded number of buckets that names are hashed into, so that a
 * batch of a thousand writes takes no more of the server's lock table. Always taken in ascending order: no deadlock.
 */
const bucketCount = 256;

/** 0 is the lock of the whole store, -1 that of the sweeper, -2 that of migrations (see `write-functions.ts`). */
export const migrationLock = -2;

export function buckets(names: Iterable<string>): number[] {
  const found = new Set<number>();
  for (const name of names) found.add(1 + (hashOf(name) % bucketCount));
  return [...found].sort((one, other) => one - other);
}

/** A signed 32-bit number, the same in every process. */
export function lockClass(schema: string): number {
  return hashOf(`mecha ${schema}`) | 0;
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
