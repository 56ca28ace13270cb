import type { Statement } from "bun:sqlite";
import type { Connection } from "./connection.ts";

/** Frames (pages) in the write-ahead log from which its pages are copied back after a commit. */
const copyFromFrames = 4_000;
/** Frames from which the log is also emptied, waiting a little for readers: 64 MiB of 4 KiB pages. */
const emptyFromFrames = 16_000;
/** How long emptying may make readers and writers of all processes wait. */
const patienceMs = 50;

/** Keeps the write-ahead log short. Runs after a batch was acknowledged, so that no caller waits for it. */
export class Checkpointer {
  readonly #db: Connection;
  readonly #look: Statement<{ log: number; checkpointed: number }>;

  constructor(db: Connection) {
    this.#db = db;
    this.#look = db.prepare("PRAGMA wal_checkpoint(NOOP)");
  }

  afterBatch(): void {
    const state = this.#look.get();
    if (!state) return;
    if (state.log - state.checkpointed >= copyFromFrames) this.#run("PASSIVE");
    if (state.log >= emptyFromFrames) this.#run("TRUNCATE");
  }

  /** Empties the log for good when nothing is going on, so that the next open has nothing to recover. */
  whenIdle(): void {
    if ((this.#look.get()?.log ?? 0) > 0) this.#run("TRUNCATE");
  }

  /** A checkpoint that cannot finish now is tried again after a later batch: never an error of a writer. */
  #run(mode: "PASSIVE" | "TRUNCATE"): void {
    try {
      this.#db.run(`PRAGMA busy_timeout = ${patienceMs}`);
      this.#db.run(`PRAGMA wal_checkpoint(${mode})`);
    } catch {
      // Disk full or I/O error while copying back: the log stays as it is, complete and synced.
    } finally {
      // The write lock does its own waiting.
      this.#db.run("PRAGMA busy_timeout = 0");
    }
  }
}
