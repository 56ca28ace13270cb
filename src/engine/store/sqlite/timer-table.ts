import type { Statement } from "bun:sqlite";
import type { Mutation, Outcome, Timer } from "../store.ts";
import { type Batch, refuse } from "./batch.ts";
import type { Packed, WriteOperation } from "./batch-codec.ts";
import type { Connection } from "./connection.ts";

type Set = Packed<Extract<Mutation, { kind: "timerSet" }>>;
type Delete = Extract<Mutation, { kind: "timerDelete" }>;
type Done = Packed<Extract<Mutation, { kind: "timerDone" }>>;
type Claim = Extract<WriteOperation, { op: "claimTimers" }>;

/** The writing side of timers. `visible_at` is the due time, or the end of the lease of a claimed one. */
export class TimerTable {
  readonly #exists: Statement<{ found: number }>;
  readonly #set: Statement;
  readonly #delete: Statement;
  readonly #finish: Statement;
  readonly #repeat: Statement;
  readonly #due: Statement<{ id: string; due_at: number; data: Uint8Array }>;
  readonly #claim: Statement;
  readonly #releaseOwner: Statement<{ space: string }>;

  constructor(db: Connection) {
    const owned = "WHERE space = ? AND id = ? AND claim = ?";
    this.#exists = db.prepare("SELECT 1 AS found FROM timers WHERE space = ? AND id = ?");
    this.#set = db.prepare(
      `INSERT INTO timers (space, id, due_at, visible_at, claim, owner, data) VALUES (?1, ?2, ?3, ?3, 0, NULL, ?4)
       ON CONFLICT (space, id) DO UPDATE SET due_at = excluded.due_at, visible_at = excluded.visible_at,
         claim = 0, owner = NULL, data = excluded.data`,
    );
    this.#delete = db.prepare("DELETE FROM timers WHERE space = ? AND id = ?");
    this.#finish = db.prepare(`DELETE FROM timers ${owned}`);
    this.#repeat = db.prepare(
      `UPDATE timers SET due_at = ?4, visible_at = ?4, claim = 0, owner = NULL, data = coalesce(?5, data)
       WHERE space = ?1 AND id = ?2 AND claim = ?3`,
    );
    this.#due = db.prepare(
      `SELECT id, due_at, data FROM timers INDEXED BY timers_by_time
       WHERE space = ? AND visible_at <= ? ORDER BY visible_at LIMIT ?`,
    );
    this.#claim = db.prepare(
      "UPDATE timers SET claim = ?, owner = ?, visible_at = ? WHERE space = ? AND id = ?",
    );
    this.#releaseOwner = db.prepare(
      "UPDATE timers SET claim = 0, owner = NULL, visible_at = due_at WHERE owner = ? RETURNING space",
    );
  }

  set({ space, id, dueAtMs, data, ifAbsent }: Set, batch: Batch): Outcome {
    if (ifAbsent && this.#exists.get(space, id)) refuse("exists", `timer ${id} exists already`);
    this.#set.run(space, id, dueAtMs, batch.bytes(data));
    batch.touch(`timers:${space}`);
    return {};
  }

  delete({ space, id }: Delete, batch: Batch): Outcome {
    const existed = this.#delete.run(space, id).changes > 0;
    if (existed) batch.touch(`timers:${space}`);
    return { existed };
  }

  done({ timer: { space, id, claim }, dueAtMs, data }: Done, batch: Batch): Outcome {
    // Claim 0 marks a timer that nobody has claimed.
    if (claim <= 0) refuse("claim", `timer ${id} is not claimed`);
    const changes =
      dueAtMs === undefined
        ? this.#finish.run(space, id, claim).changes
        : this.#repeat.run(space, id, claim, dueAtMs, data ? batch.bytes(data) : null).changes;
    if (changes === 0) refuse("claim", `timer ${id} was set anew, deleted or claimed by another`);
    if (dueAtMs !== undefined) batch.touch(`timers:${space}`);
    return {};
  }

  /** Lets go of the timers that a dead process had claimed. */
  releaseOwner(owner: string, batch: Batch): number {
    const spaces = this.#releaseOwner.all(owner);
    for (const { space } of spaces) batch.touch(`timers:${space}`);
    return spaces.length;
  }

  claim({ space, owner, nowMs, max, leaseMs }: Claim, batch: Batch): Packed<Timer>[] {
    const rows = this.#due.all(space, nowMs, max);
    if (rows.length === 0) return [];
    const claim = batch.nextRevision();
    for (const row of rows) this.#claim.run(claim, owner, nowMs + leaseMs, space, row.id);
    return rows.map((row) => ({
      space,
      id: row.id,
      claim,
      dueAtMs: row.due_at,
      data: batch.reply.add(row.data),
    }));
  }
}
