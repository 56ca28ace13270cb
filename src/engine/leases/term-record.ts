import { type Store, StoreConflict } from "../store/store.ts";

/** The newest term of a group: kept when nobody leads, so that terms go on counting. */
export interface TermRecord {
  term: number;
  /** Who led it. */
  leader: string;
  fencingToken: number;
  sinceMs: number;
}

const space = "elections";

export interface TermEntry extends TermRecord {
  etag: string;
}

export async function readTerm(store: Pick<Store, "get">, name: string): Promise<TermEntry | undefined> {
  const entry = await store.get(space, name);
  if (entry === undefined) return undefined;
  const record = JSON.parse(Buffer.from(entry.value).toString("utf8")) as TermRecord;
  return { ...record, etag: entry.etag };
}

/**
 * Begins the term of a lease that was just taken; `undefined` when the lease or the term went to another meanwhile.
 * The record changes only under the lease and only from the one before: a term has one leader.
 */
export async function beginTerm(
  store: Pick<Store, "get" | "commit">,
  { name, leader, token, nowMs }: { name: string; leader: string; token: number; nowMs: number },
): Promise<TermRecord | undefined> {
  const before = await readTerm(store, name);
  // An earlier attempt was committed though its answer was lost.
  if (before?.fencingToken === token) return before;
  const record: TermRecord = { term: (before?.term ?? 0) + 1, leader, fencingToken: token, sinceMs: nowMs };
  const value = Buffer.from(JSON.stringify(record));
  try {
    await store.commit([
      { kind: "guard", lease: name, token },
      before === undefined
        ? { kind: "put", space, key: name, value, ifAbsent: true }
        : { kind: "put", space, key: name, value, etag: before.etag },
    ]);
    return record;
  } catch (error) {
    if (error instanceof StoreConflict) return undefined;
    throw error;
  }
}
