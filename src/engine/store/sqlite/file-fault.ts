import { StoreUnavailable } from "../store.ts";

type Reason = StoreUnavailable["reason"];

/** https://www.sqlite.org/rescode.html: what concerns the file or its disk, whichever operation met it. */
const reasons: readonly [prefix: string, reason: Reason, message: string][] = [
  ["SQLITE_FULL", "full", "the disk that holds the store is full; free some space"],
  ["SQLITE_IOERR", "io", "the disk that holds the store failed to read or write"],
  ["SQLITE_BUSY", "busy", "another process holds the store's write lock for too long"],
  ["SQLITE_LOCKED", "busy", "the store is locked"],
  ["SQLITE_PROTOCOL", "busy", "the store's locks are contended"],
  ["SQLITE_CORRUPT", "corrupt", "the store's file is damaged; run `mecha store check`"],
  ["SQLITE_NOTADB", "corrupt", "the store's file is not a database"],
  ["SQLITE_READONLY", "io", "the store's file cannot be written"],
  ["SQLITE_CANTOPEN", "io", "the store's file cannot be opened"],
  ["SQLITE_NOMEM", "overloaded", "there is no memory left for the store"],
];

export function concernsTheFile(error: unknown): boolean {
  return error instanceof StoreUnavailable || entryOf(error) !== undefined;
}

export function toStoreUnavailable(error: unknown): StoreUnavailable {
  if (error instanceof StoreUnavailable) return error;
  const [, reason, message] = entryOf(error) ?? ["", "io" as const, "the store failed"];
  const detail = error instanceof Error ? error.message : String(error);
  return new StoreUnavailable(reason, `${message} (${detail})`, { cause: error });
}

function entryOf(error: unknown): (typeof reasons)[number] | undefined {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return reasons.find(([prefix]) => code.startsWith(prefix));
}
