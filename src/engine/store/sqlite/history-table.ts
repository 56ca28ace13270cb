import type { Statement } from "bun:sqlite";
import type { Mutation, Outcome } from "../store.ts";
import { type Batch, refuse } from "./batch.ts";
import type { Packed } from "./batch-codec.ts";
import type { Connection } from "./connection.ts";

type Append = Packed<Extract<Mutation, { kind: "history" }>>;

/** The writing side of histories: positions without gaps, from 0. */
export class HistoryTable {
  readonly #last: Statement<{ position: number }>;
  readonly #insert: Statement;
  readonly #delete: Statement;

  constructor(db: Connection) {
    this.#last = db.prepare("SELECT position FROM history WHERE instance = ? ORDER BY position DESC LIMIT 1");
    this.#insert = db.prepare("INSERT INTO history (instance, position, event) VALUES (?, ?, ?)");
    this.#delete = db.prepare("DELETE FROM history WHERE instance = ?");
  }

  append({ instance, expectedLength, events }: Append, batch: Batch): Outcome {
    const length = (this.#last.get(instance)?.position ?? -1) + 1;
    if (length !== expectedLength) {
      refuse("length", `history of ${instance} has ${length} events, not ${expectedLength}`);
    }
    let position = length;
    for (const event of events) this.#insert.run(instance, position++, batch.bytes(event));
    return {};
  }

  delete(instance: string): Outcome {
    const count = this.#delete.run(instance).changes;
    return { existed: count > 0, count };
  }
}
