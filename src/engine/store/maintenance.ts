import { closeSync, existsSync, fsyncSync, openSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { readSchemaVersion, refuseUnknownFile, StoreFileRefused } from "./migrations.ts";
import { Connection } from "./sqlite/connection.ts";
import { concernsTheFile, toStoreUnavailable } from "./sqlite/file-fault.ts";
import { storeFileName } from "./sqlite/open-file.ts";
import { readCounts } from "./sqlite/reads.ts";
import type { StoreStats } from "./store.ts";

export interface CheckReport {
  /** One sentence each; none: the store is sound. */
  problems: string[];
  stats: StoreStats;
}

export interface CompactReport {
  bytesBefore: number;
  bytesAfter: number;
}

export interface BackupReport {
  path: string;
  bytes: number;
}

const nothing: StoreStats = { keys: 0, messages: 0, timers: 0, bytesOnDisk: 0, schemaVersion: 0 };

/** How long a statement waits for running processes. */
const busyTimeoutMs = 10_000;

/**
 * What must hold between the tables at every commit: rows these find are problems. Each speaks of one kind of row and
 * is read in the snapshot of one transaction, also while others write. `since`: files of older schemas have no such rows.
 */
const invariants: readonly [problem: string, sql: string, since?: number][] = [
  [
    "topics whose counters are wrong",
    `SELECT name FROM topics WHERE (messages, bytes) IS NOT
       (SELECT count(*), coalesce(sum(length(data)), 0) FROM messages WHERE topic = topics.id)`,
  ],
  [
    "counters that are wrong",
    `SELECT name FROM counters WHERE (name = 'keys' AND value <> (SELECT count(*) FROM keys))
       OR (name = 'timers' AND value <> (SELECT count(*) FROM timers))`,
  ],
  ["messages of no topic", "SELECT offset FROM messages WHERE topic NOT IN (SELECT id FROM topics)"],
  [
    "consumer groups whose position is wrong",
    `SELECT consumers.name FROM consumers JOIN topics ON topics.id = topic WHERE appended - passed <>
       (SELECT count(*) FROM messages WHERE messages.topic = consumers.topic AND offset > cursor)`,
  ],
  [
    "claims beyond their group's position",
    "SELECT offset FROM claims JOIN consumers ON consumers.id = consumer WHERE offset > cursor",
  ],
  [
    "claims without a group or message",
    `SELECT claims.offset FROM claims LEFT JOIN consumers ON consumers.id = consumer
       LEFT JOIN messages ON messages.topic = consumers.topic AND messages.offset = claims.offset
     WHERE messages.offset IS NULL`,
  ],
  [
    "messages that wait for their order key while nothing holds it",
    `SELECT offset FROM claims WHERE visible_at = ${Number.MAX_SAFE_INTEGER} AND NOT EXISTS
       (SELECT 1 FROM claims AS earlier WHERE earlier.consumer = claims.consumer
          AND earlier.order_key = claims.order_key AND earlier.offset < claims.offset)`,
  ],
  [
    "histories with gaps",
    "SELECT instance FROM history GROUP BY instance HAVING count(*) <> max(position) + 1 OR min(position) <> 0",
  ],
  ["events of no history", "SELECT history FROM events WHERE history NOT IN (SELECT id FROM histories)", 2],
  [
    "numbers above the revision counter",
    `SELECT number FROM (SELECT max(etag) AS number FROM keys UNION ALL SELECT max(offset) FROM messages
       UNION ALL SELECT max(claim) FROM claims UNION ALL SELECT max(claim) FROM timers
       UNION ALL SELECT max(token) FROM leases)
     WHERE number > (SELECT value FROM counters WHERE name = 'revision')`,
  ],
];

/** Examines the file and what must hold in it; also while processes use it. A store not made yet is sound. */
export async function checkStore(folder: string): Promise<CheckReport> {
  const path = join(folder, storeFileName);
  if (!existsSync(path)) return { problems: [], stats: nothing };
  try {
    return await withFile(path, (db) =>
      db.snapshot(() => ({ problems: findProblems(db), stats: readStats(db, path) })),
    );
  } catch (error) {
    if (!concernsTheFile(error) || toStoreUnavailable(error).reason !== "corrupt") throw error;
    return {
      problems: [toStoreUnavailable(error).message],
      stats: { ...nothing, bytesOnDisk: fileBytes(path) },
    };
  }
}

/** Gives unused space back to the file system. Writers wait meanwhile. */
export async function compactStore(folder: string): Promise<CompactReport> {
  const path = existingStore(folder);
  const bytesBefore = fileBytes(path);
  await withFile(path, (db) => {
    db.run("VACUUM");
    db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  });
  return { bytesBefore, bytesAfter: fileBytes(path) };
}

/** Copies the store of one moment to a new file, also while processes use it. The copy is synced to disk. */
export async function backupStore(folder: string, target: string): Promise<BackupReport> {
  const path = existingStore(folder);
  const copy = resolve(target);
  // Made by us, so that it is private; SQLite accepts an empty file, and refuses to overwrite another.
  closeSync(openSync(copy, "wx", 0o600));
  try {
    await withFile(path, (db) => db.all("VACUUM INTO ?", copy));
    syncToDisk(copy);
    syncToDisk(dirname(copy));
  } catch (error) {
    rmSync(copy, { force: true });
    throw error;
  }
  return { path: copy, bytes: fileBytes(copy) };
}

function findProblems(db: Connection): string[] {
  const damage = db
    .all<{ integrity_check: string }>("PRAGMA integrity_check(20)")
    .map((row) => row.integrity_check)
    .filter((line) => line !== "ok");
  // The tables of a damaged file cannot be reasoned about.
  if (damage.length > 0) return damage.map((line) => `the file is damaged: ${line}`);
  const schema = readSchemaVersion(db);
  return invariants.flatMap(([problem, sql, since = 1]) => {
    if (since > schema) return [];
    const rows = db.all<Record<string, unknown>>(`${sql} LIMIT 5`);
    if (rows.length === 0) return [];
    const examples = rows.map((row) => Object.values(row)[0]).join(", ");
    return [`${problem}, such as ${examples}`];
  });
}

function readStats(db: Connection, path: string): StoreStats {
  return { ...readCounts(db), bytesOnDisk: fileBytes(path), schemaVersion: readSchemaVersion(db) };
}

async function withFile<T>(path: string, work: (db: Connection) => T): Promise<T> {
  const db = new Connection(path);
  try {
    db.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    refuseUnknownFile(db, path);
    return work(db);
  } finally {
    db.close();
  }
}

function existingStore(folder: string): string {
  const path = join(folder, storeFileName);
  if (!existsSync(path)) throw new StoreFileRefused(`there is no store at ${path}`);
  return path;
}

function fileBytes(path: string): number {
  return ["", "-wal"].reduce(
    (sum, end) => sum + (statSync(path + end, { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

function syncToDisk(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
