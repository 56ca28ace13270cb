import type { Statement } from "bun:sqlite";
import type { Batch } from "./batch.ts";
import type { Retention } from "./batch-codec.ts";
import { never } from "./claim-table.ts";
import type { Connection } from "./connection.ts";

interface Slice {
  count: number;
  bytes: number;
  last: number | null;
}

/** Removes messages: those that every group has handled, and those that are too old or too many. In slices. */
export class RetentionTable {
  readonly #consumers: Statement<{ id: number; cursor: number }>;
  readonly #firstClaim: Statement<{ offset: number | null }>;
  readonly #topics: Statement<{ id: number; isWork: number }>;
  readonly #bytes: Statement<{ bytes: number }>;
  readonly #doneSlice: Statement<Slice>;
  readonly #delete: Statement;
  readonly #scanEnd: Statement<{ last: number | null }>;
  readonly #holes: Statement<Slice>;
  readonly #deleteHoles: Statement;
  readonly #tooOld: Statement<{ last: number | null }>;
  readonly #tooMany: Statement<{ last: number | null }>;
  readonly #discount: Statement;
  readonly #countPending: Statement<{ count: number }>;
  readonly #dropClaims: Statement;
  readonly #pass: Statement;
  readonly #free: Statement;
  readonly #deleteUnused: Statement;
  /** Where the search for handled messages between pending ones goes on, by topic. */
  readonly #scanned = new Map<number, number>();
  #lastTopic = 0;

  constructor(db: Connection) {
    const group = "(SELECT id FROM consumers WHERE topic = ?1)";
    const slice = "SELECT count(*) AS count, coalesce(sum(size), 0) AS bytes, max(offset) AS last FROM";
    const pending = `EXISTS (SELECT 1 FROM claims WHERE consumer IN ${group} AND claims.offset = messages.offset)`;
    const range = "topic = ?1 AND offset > ?2 AND offset <= ?3";
    this.#consumers = db.prepare("SELECT id, cursor FROM consumers WHERE topic = ?");
    this.#firstClaim = db.prepare("SELECT min(offset) AS offset FROM claims WHERE consumer = ?");
    this.#topics = db.prepare(
      `SELECT id, name GLOB 'workflow:*' OR name GLOB 'activity:*' AS isWork FROM topics
       WHERE messages > 0 AND id > ? ORDER BY id LIMIT ${topicsPerSweep}`,
    );
    this.#bytes = db.prepare("SELECT bytes FROM topics WHERE id = ?");
    this.#doneSlice = db.prepare(
      `${slice} (SELECT offset, length(data) AS size FROM messages
         WHERE topic = ? AND offset <= ? ORDER BY offset LIMIT ?)`,
    );
    this.#delete = db.prepare("DELETE FROM messages WHERE topic = ? AND offset <= ?");
    this.#scanEnd = db.prepare(
      `SELECT max(offset) AS last FROM
         (SELECT offset FROM messages WHERE ${range} ORDER BY offset LIMIT ?4)`,
    );
    this.#holes = db.prepare(
      `${slice} (SELECT offset, length(data) AS size FROM messages WHERE ${range} AND NOT ${pending})`,
    );
    this.#deleteHoles = db.prepare(`DELETE FROM messages WHERE ${range} AND NOT ${pending}`);
    // Clocks may go back: only what lies before the first message that is young enough.
    this.#tooOld = db.prepare(
      `SELECT coalesce(min(CASE WHEN published_at >= ?2 THEN offset END) - 1, max(offset)) AS last FROM
         (SELECT offset, published_at FROM messages WHERE topic = ?1 ORDER BY offset LIMIT ?3)`,
    );
    this.#tooMany = db.prepare(
      `SELECT max(offset) AS last FROM
         (SELECT offset, sum(size) OVER (ORDER BY offset) - size AS before FROM
           (SELECT offset, length(data) AS size FROM messages WHERE topic = ?1 ORDER BY offset LIMIT ?3))
       WHERE before < ?2`,
    );
    this.#discount = db.prepare(
      "UPDATE topics SET messages = messages - ?2, bytes = bytes - ?3, dropped = dropped + ?4 WHERE id = ?1",
    );
    this.#countPending = db.prepare(
      `SELECT count(*) AS count FROM messages WHERE topic = ?1 AND offset <= ?2 AND (
         offset > (SELECT min(cursor) FROM consumers WHERE topic = ?1) OR ${pending})`,
    );
    this.#dropClaims = db.prepare(`DELETE FROM claims WHERE consumer IN ${group} AND offset <= ?2`);
    this.#pass = db.prepare(
      `UPDATE consumers SET cursor = ?2, passed = passed +
         (SELECT count(*) FROM messages WHERE messages.topic = ?1 AND offset > cursor AND offset <= ?2)
       WHERE topic = ?1 AND cursor < ?2`,
    );
    this.#deleteUnused = db.prepare(
      `DELETE FROM topics WHERE id IN (SELECT id FROM topics WHERE messages = 0 AND NOT EXISTS
         (SELECT 1 FROM consumers WHERE consumers.topic = topics.id) LIMIT ${topicsPerSweep})`,
    );
    // A dropped message may have been the one that others with its order key waited for.
    this.#free = db.prepare(
      `UPDATE claims SET visible_at = 0 WHERE consumer IN ${group} AND visible_at = ${never}`,
    );
  }

  /** Removes messages that all groups have handled, from the oldest up to the first that is pending. */
  trim(topic: number, limit: number): number {
    const floor = this.#floor(topic);
    if (!floor) return 0;
    const slice = this.#doneSlice.get(topic, floor.done, limit);
    if (!slice?.last) return 0;
    this.#delete.run(topic, slice.last);
    this.#discount.run(topic, slice.count, slice.bytes, 0);
    return slice.count;
  }

  /** Trims some topics, each time the next ones, and enforces their bounds; true when there is more to do. */
  sweep(retention: Retention, batch: Batch, limit: number): boolean {
    let left = limit;
    const topics = this.#topics.all(this.#lastTopic);
    if (topics.length < topicsPerSweep) this.#lastTopic = 0;
    for (const topic of topics) {
      left -= this.trim(topic.id, left);
      if (left > 0) left -= this.#trimHoles(topic.id, left);
      // The work of workflows waits for its worker however long that takes.
      if (left > 0 && !topic.isWork) left -= this.#bound(topic.id, retention, batch, left);
      if (left <= 0) return true;
      if (topics.length === topicsPerSweep) this.#lastTopic = topic.id;
    }
    return false;
  }

  /** Removes what is too old or too much. */
  #bound(topic: number, retention: Retention, batch: Batch, limit: number): number {
    const old = this.#dropOld(topic, batch.nowMs - retention.ageMs, limit);
    // Read anew: what was removed just now no longer counts.
    const excess = (this.#bytes.get(topic)?.bytes ?? 0) - retention.bytes;
    const left = limit - old;
    if (left <= 0 || excess <= 0) return old;
    return old + this.#drop(topic, this.#tooMany.get(topic, excess, left), left);
  }

  /** Removes topics that nobody uses, so that names used once do not pile up; true when there were any. */
  forgetUnused(): boolean {
    return this.#deleteUnused.run().changes > 0;
  }

  /** Up to where all is handled, and up to where every group has looked. */
  #floor(topic: number): { done: number; seen: number } | undefined {
    const consumers = this.#consumers.all(topic);
    if (consumers.length === 0) return undefined;
    let done = Number.MAX_SAFE_INTEGER;
    let seen = Number.MAX_SAFE_INTEGER;
    for (const { id, cursor } of consumers) {
      const first = this.#firstClaim.get(id)?.offset ?? undefined;
      done = Math.min(done, first === undefined ? cursor : first - 1);
      seen = Math.min(seen, cursor);
    }
    return { done, seen };
  }

  /** One pending message must not keep all that were handled after it: looks at `limit` messages a call. */
  #trimHoles(topic: number, limit: number): number {
    const floor = this.#floor(topic);
    if (!floor || floor.done >= floor.seen) return 0;
    const from = Math.max(floor.done, this.#scanned.get(topic) ?? 0);
    const last = this.#scanEnd.get(topic, from, floor.seen, Math.min(limit, holesScanned))?.last ?? undefined;
    if (last === undefined) {
      this.#scanned.delete(topic);
      return 0;
    }
    if (this.#scanned.size >= topicsRemembered) this.#scanned.clear();
    this.#scanned.set(topic, last);
    const slice = this.#holes.get(topic, from, last);
    if (!slice?.last) return 0;
    this.#deleteHoles.run(topic, from, last);
    this.#discount.run(topic, slice.count, slice.bytes, 0);
    return slice.count;
  }

  #dropOld(topic: number, beforeMs: number, limit: number): number {
    // Most topics have nothing old: one row tells.
    if (this.#drop(topic, this.#tooOld.get(topic, beforeMs, 1), 1) === 0) return 0;
    return 1 + this.#drop(topic, this.#tooOld.get(topic, beforeMs, limit), limit);
  }

  /** Removes the oldest messages, handled or not, up to the offset given. */
  #drop(topic: number, upTo: { last: number | null } | null, limit: number): number {
    const slice = upTo?.last ? this.#doneSlice.get(topic, upTo.last, limit) : null;
    if (!slice?.last) return 0;
    const pending = this.#countPending.get(topic, slice.last)?.count ?? 0;
    this.#dropClaims.run(topic, slice.last);
    this.#pass.run(topic, slice.last);
    this.#delete.run(topic, slice.last);
    this.#free.run(topic);
    this.#discount.run(topic, slice.count, slice.bytes, pending);
    return slice.count;
  }
}

const topicsPerSweep = 500;
const topicsRemembered = 10_000;
const holesScanned = 1000;
