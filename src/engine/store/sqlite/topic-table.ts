import type { Statement } from "bun:sqlite";
import type { NewMessage, Outcome } from "../store.ts";
import type { Batch } from "./batch.ts";
import type { Packed } from "./batch-codec.ts";
import type { Connection } from "./connection.ts";

/** Appends to topics. A message's offset is a number of the store's one counter: it grows, with gaps. */
export class TopicTable {
  readonly #find: Statement<{ id: number }>;
  readonly #create: Statement<{ id: number }>;
  readonly #insert: Statement;
  readonly #count: Statement;
  readonly #ids = new Map<string, number>();

  constructor(db: Connection) {
    this.#find = db.prepare("SELECT id FROM topics WHERE name = ?");
    this.#create = db.prepare("INSERT INTO topics (name) VALUES (?) RETURNING id");
    this.#insert = db.prepare(
      `INSERT INTO messages (topic, offset, published_at, not_before, expires_at, order_key, headers, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#count = db.prepare(
      "UPDATE topics SET appended = appended + ?2, messages = messages + ?2, bytes = bytes + ?3 WHERE id = ?1",
    );
  }

  append(topic: string, message: Packed<NewMessage>, batch: Batch): Outcome {
    const id = this.idOf(topic);
    const offset = batch.nextRevision();
    const { headers, orderKey = null, notBeforeMs = null, expiresAtMs = null } = message;
    this.#insert.run(
      id,
      offset,
      batch.nowMs,
      notBeforeMs,
      expiresAtMs,
      orderKey,
      headers ? JSON.stringify(headers) : null,
      batch.bytes(message.data),
    );
    batch.appended.push({ topic: id, bytes: message.data[1] });
    batch.touch(`topic:${topic}`);
    return { offset };
  }

  /** The topic's row, made when there is none. */
  idOf(topic: string): number {
    const known = this.#ids.get(topic);
    if (known !== undefined) return known;
    const row = this.#find.get(topic) ?? this.#create.get(topic);
    if (!row) throw new Error(`topic ${topic} could not be created`);
    if (this.#ids.size >= idsCached) this.#ids.clear();
    this.#ids.set(topic, row.id);
    return row.id;
  }

  /** Writes the counters of the batch's appends: once per topic instead of once per message. */
  writeCounters(batch: Batch): void {
    const totals = new Map<number, { messages: number; bytes: number }>();
    for (const { topic, bytes } of batch.appended) {
      const total = totals.get(topic);
      if (total) {
        total.messages += 1;
        total.bytes += bytes;
      } else totals.set(topic, { messages: 1, bytes });
    }
    for (const [topic, { messages, bytes }] of totals) this.#count.run(topic, messages, bytes);
  }

  /** Another process wrote, or a transaction was undone: ids seen may not exist. */
  forget(): void {
    this.#ids.clear();
  }
}

const idsCached = 10_000;
