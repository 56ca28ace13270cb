import { Database } from "bun:sqlite";
import type { Clock, ClockTimer } from "../../edges/clock.ts";
import type { SqliteAddress } from "./sqlite-address.ts";

export interface SqliteOptions {
  address: SqliteAddress;
  clock: Clock;
  /** How long a write waits for another process's lock. */
  busyTimeoutMs: number;
  /** How long a write may wait in all. */
  timeoutMs: number;
  usesWal: boolean;
}

interface Write {
  run: () => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
  untilMs: number;
}

/** Waits inside SQLite are short, since they stop the whole process; the rest of a wait is a timer. */
const blockingMs = 5;
const retryMs = 10;
const writesMax = 1000;

/**
 * One connection. Writes of one moment share a transaction and so an fsync; each is undone alone when it fails. Their
 * promises resolve after the commit.
 */
export class SqliteConnection {
  readonly db: Database;
  readonly #options: SqliteOptions;
  #waiting: Write[] = [];
  #flushTimer: ClockTimer | undefined;
  #isFlushQueued = false;
  #isClosed = false;

  constructor(db: Database, options: SqliteOptions) {
    this.db = db;
    this.#options = options;
  }

  /** Runs a write in a transaction of its own or with others. It must be synchronous. */
  write<T>(run: () => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(new Error("the database is closed"));
    const { clock, timeoutMs } = this.#options;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({
        run,
        resolve: resolve as (value: unknown) => void,
        reject,
        untilMs: clock.monotonicMs() + timeoutMs,
      });
      this.#queueFlush();
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    this.#flushTimer?.cancel();
    for (const write of this.#waiting) write.reject(new Error("the database is closed"));
    this.#waiting = [];
    this.db.close();
  }

  #queueFlush(): void {
    if (this.#isFlushQueued || this.#flushTimer) return;
    this.#isFlushQueued = true;
    setImmediate(() => {
      this.#isFlushQueued = false;
      if (!this.#isClosed) this.#flush();
    });
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    const writes = this.#waiting.splice(0, writesMax);
    try {
      this.db.run("BEGIN IMMEDIATE");
    } catch (error) {
      this.#putOff(writes, error);
      return;
    }
    this.#commit(writes);
    if (this.#waiting.length > 0) this.#queueFlush();
  }

  #commit(writes: Write[]): void {
    const results = writes.map((write) => this.#runAlone(write));
    try {
      this.db.run("COMMIT");
    } catch (error) {
      if (this.db.inTransaction) this.db.run("ROLLBACK");
      for (const write of writes) write.reject(error);
      return;
    }
    for (const settle of results) settle();
  }

  /** The answer is given when the transaction is on disk. */
  #runAlone({ run, resolve, reject }: Write): () => void {
    this.db.run("SAVEPOINT one");
    try {
      const value = run();
      this.db.run("RELEASE one");
      return () => resolve(value);
    } catch (error) {
      if (this.db.inTransaction) this.db.run("ROLLBACK TO one; RELEASE one");
      return () => reject(error);
    }
  }

  /** Another process writes: again in a moment, until the time of a write is over. */
  #putOff(writes: Write[], error: unknown): void {
    const { clock, busyTimeoutMs } = this.#options;
    const nowMs = clock.monotonicMs();
    const canWait = isBusy(error);
    const left = writes.filter((write) => canWait && nowMs < write.untilMs);
    for (const write of writes) if (!left.includes(write)) write.reject(error);
    for (const write of left) write.untilMs = Math.min(write.untilMs, nowMs + busyTimeoutMs);
    this.#waiting.unshift(...left);
    if (this.#waiting.length === 0) return;
    this.#flushTimer = clock.setTimer(retryMs, () => {
      this.#flushTimer = undefined;
      if (!this.#isClosed) this.#flush();
    });
  }
}

/** Opens the file and runs `prepare` in a transaction; waits while another process holds it. */
export async function openSqlite(
  options: SqliteOptions,
  prepare: (db: Database) => void,
): Promise<SqliteConnection> {
  const { address, usesWal, clock, busyTimeoutMs } = options;
  const { path, isInMemory, isReadOnly, pragmas } = address;
  const db = new Database(isInMemory ? ":memory:" : path, isReadOnly ? { readonly: true } : { create: true });
  const connection = new SqliteConnection(db, options);
  try {
    db.run(`PRAGMA busy_timeout = ${blockingMs}`);
    const startMs = clock.monotonicMs();
    const wait = () => clock.monotonicMs() - startMs < busyTimeoutMs;
    if (usesWal && !isInMemory && !isReadOnly)
      await whenFree(() => db.run("PRAGMA journal_mode = WAL"), wait, clock);
    // Each answered write is on disk.
    db.run("PRAGMA synchronous = FULL");
    for (const statement of pragmas) db.run(statement);
    if (!isReadOnly) await connection.write(() => prepare(db));
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function whenFree(run: () => void, mayWait: () => boolean, clock: Clock): Promise<void> {
  for (;;) {
    try {
      run();
      return;
    } catch (error) {
      if (!isBusy(error) || !mayWait()) throw error;
      await new Promise<void>((resolve) => clock.setTimer(retryMs, resolve));
    }
  }
}

function isBusy(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED"));
}
