import type { Statement } from "bun:sqlite";
import type { Connection } from "./connection.ts";
import { toStoreUnavailable } from "./file-fault.ts";

/** Between two tries to get the lock: about what another process's commit takes. */
const retryEveryMs = 0.5;

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** Stops this thread, as Bun.sleepSync does, which knows whole milliseconds only. */
function pause(durationMs: number): void {
  Atomics.wait(nobody, 0, 0, durationMs);
}

/**
 * The lock that one writing process at a time holds on the file. SQLite's own waiting sleeps longer and longer, up to
 * 100 ms, and so starves a process that meets a busy one; this one asks at an even pace.
 */
export class WriteLock {
  readonly #begin: Statement;
  readonly #patienceMs: number;

  constructor(db: Connection, patienceMs: number) {
    this.#begin = db.prepare("BEGIN IMMEDIATE");
    this.#patienceMs = patienceMs;
    db.run("PRAGMA busy_timeout = 0");
  }

  /** Begins a transaction that can write; throws `StoreUnavailable` "busy" when patience ends. */
  begin(): void {
    if (this.#tryBegin()) return;
    const giveUpAtMs = performance.now() + this.#patienceMs;
    while (!this.#tryBegin(giveUpAtMs)) pause(retryEveryMs);
  }

  #tryBegin(giveUpAtMs = Number.POSITIVE_INFINITY): boolean {
    try {
      this.#begin.run();
      return true;
    } catch (error) {
      const fault = toStoreUnavailable(error);
      if (fault.reason !== "busy" || performance.now() > giveUpAtMs) throw fault;
      return false;
    }
  }
}
