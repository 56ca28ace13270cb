import type { Statement } from "bun:sqlite";
import type { Mutation, Outcome } from "../store.ts";
import { type Batch, refuse } from "./batch.ts";
import type { Packed } from "./batch-codec.ts";
import type { Connection } from "./connection.ts";

type Append = Packed<Extract<Mutation, { kind: "history" }>>;

/** The writing side of histories: positions without gaps, from 0. */
export class HistoryTable {
  readonly #id: Statement<{ id: number }>;
  readonly #begin: Statement<{ id: number }>;
  readonly #last: Statement<{ position: number }>;
  readonly #insert: Statement;
  readonly #deleteEvents: Statement;
  readonly #delete: Statement;

  constructor(db: Connection) {
    this.#id = db.prepare("SELECT id FROM histories WHERE instance = ?");
    this.#begin = db.prepare("INSERT INTO histories (instance) VALUES (?) RETURNING id");
    this.#last = db.prepare("SELECT position FROM events WHERE history = ? ORDER BY position DESC LIMIT 1");
    this.#insert = db.prepare("INSERT INTO events (history, position, event) VALUES (?, ?, ?)");
    this.#deleteEvents = db.prepare("DELETE FROM events WHERE history = ?");
    this.#delete = db.prepare("DELETE FROM histories WHERE id = ?");
  }

  append({ instance, expectedLength, events }: Append, batch: Batch): Outcome {
    let id = this.#id.get(instance)?.id;
    const length = id === undefined ? 0 : (this.#last.get(id)?.position ?? -1) + 1;
    if (length !== expectedLength) {
      refuse("length", `history of ${instance} has ${length} events, not ${expectedLength}`);
    }
    if (events.length === 0) return {};
    id ??= (this.#begin.get(instance) as { id: number }).id;
    let position = length;
    for (const event of events) this.#insert.run(id, position++, batch.bytes(event));
    return {};
  }

  delete(instance: string): Outcome {
    const id = this.#id.get(instance)?.id;
    if (id === undefined) return { existed: false, count: 0 };
    const count = this.#deleteEvents.run(id).changes;
    this.#delete.run(id);
    return { existed: count > 0, count };
  }
}
