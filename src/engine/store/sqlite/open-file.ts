import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { dirname, join } from "node:path";
import { migrate } from "../migrations.ts";
import { Connection } from "./connection.ts";

export const storeFileName = "mecha.db";

export interface ConnectionOptions {
  /** How long a statement waits for another process's lock before it fails as busy. */
  busyTimeoutMs: number;
}

/** Creates folder (0700) and file (0600) where missing and brings the schema up to date. Returns the file's path. */
export function prepareStoreFile(folder: string, options: ConnectionOptions): string {
  const made = mkdirSync(folder, { recursive: true, mode: 0o700 });
  // A new folder must survive a power cut as its files do.
  if (made) syncFolder(dirname(made));
  const path = join(folder, storeFileName);
  // SQLite gives its -wal and -shm files the mode of the main file, so it must be right before the first open.
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600);
  const db = new Connection(path);
  try {
    db.run(`PRAGMA busy_timeout = ${options.busyTimeoutMs}`);
    useWriteAheadLog(db, options.busyTimeoutMs);
    migrate(db, path);
  } catch (error) {
    throw isForeign(error) ? foreignFile(path) : error;
  } finally {
    db.close();
  }
  return path;
}

function isForeign(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "SQLITE_NOTADB";
}

function foreignFile(path: string): Error {
  return new Error(
    `${path} is not a store: put a backup in its place, or point --data-dir at another folder (mecha store check says more)`,
  );
}

function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function openWriter(path: string, options: ConnectionOptions): Connection {
  const db = open(path, options);
  db.run("PRAGMA synchronous = FULL");
  // Where a plain fsync leaves data in the drive's cache (macOS).
  db.run("PRAGMA fullfsync = ON");
  // The worker checkpoints between batches, so that no acknowledgement waits for it.
  db.run("PRAGMA wal_autocheckpoint = 0");
  db.run("PRAGMA cache_size = -16000");
  return db;
}

export function openReader(path: string, options: ConnectionOptions): Connection {
  const db = open(path, options);
  db.run("PRAGMA query_only = ON");
  db.run("PRAGMA cache_size = -8000");
  return db;
}

function open(path: string, options: ConnectionOptions): Connection {
  const db = new Connection(path);
  db.run(`PRAGMA busy_timeout = ${options.busyTimeoutMs}`);
  db.run("PRAGMA temp_store = MEMORY");
  return db;
}

/** Changing the journal mode does not honour busy_timeout when two processes create the file at once. */
function useWriteAheadLog(db: Connection, patienceMs: number): void {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    try {
      db.run("PRAGMA journal_mode = WAL");
      return;
    } catch (error) {
      const busy = error instanceof Error && "code" in error && String(error.code).startsWith("SQLITE_BUSY");
      if (!busy || performance.now() > giveUpAt) throw error;
      Bun.sleepSync(5);
    }
  }
}
