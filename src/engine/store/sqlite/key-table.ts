import type { Statement } from "bun:sqlite";
import type { Mutation, Outcome, PutMutation } from "../store.ts";
import { type Batch, refuse } from "./batch.ts";
import type { Packed } from "./batch-codec.ts";
import type { Connection } from "./connection.ts";
import { prefixEnd } from "./prefix.ts";

type Delete = Extract<Mutation, { kind: "delete" }>;
type DeletePrefix = Extract<Mutation, { kind: "deletePrefix" }>;

/** The writing side of keys. Expired entries count as absent from the moment they expire. */
export class KeyTable {
  readonly #live: Statement<{ etag: number }>;
  readonly #upsert: Statement;
  readonly #delete: Statement<{ expires_at: number | null }>;
  readonly #deleteRange: Statement;
  readonly #deleteExpired: Statement;

  constructor(db: Connection) {
    this.#live = db.prepare(
      "SELECT etag FROM keys WHERE space = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)",
    );
    this.#upsert = db.prepare(
      `INSERT INTO keys (space, key, etag, expires_at, content_type, value) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (space, key) DO UPDATE SET etag = excluded.etag, expires_at = excluded.expires_at,
         content_type = excluded.content_type, value = excluded.value`,
    );
    this.#delete = db.prepare("DELETE FROM keys WHERE space = ? AND key = ? RETURNING expires_at");
    this.#deleteRange = db.prepare(
      "DELETE FROM keys WHERE space = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3)",
    );
    this.#deleteExpired = db.prepare(
      `DELETE FROM keys WHERE (space, key) IN
         (SELECT space, key FROM keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
    );
  }

  put(put: Packed<PutMutation>, batch: Batch): Outcome {
    if (put.etag) this.#demandEtag(put.space, put.key, put.etag, batch);
    if (put.ifAbsent && this.#etagOf(put.space, put.key, batch) !== undefined) {
      refuse("exists", `key ${put.key} exists already`);
    }
    const etag = batch.nextRevision();
    const { space, key, expiresAtMs = null, contentType = "" } = put;
    this.#upsert.run(space, key, etag, expiresAtMs, contentType, batch.bytes(put.value));
    batch.touch(`keys:${space}`);
    return { etag: String(etag) };
  }

  delete(mutation: Delete, batch: Batch): Outcome {
    const { space, key, etag, mustExist } = mutation;
    if (etag) this.#demandEtag(space, key, etag, batch);
    if (mustExist && this.#etagOf(space, key, batch) === undefined)
      refuse("absent", `key ${key} does not exist`);
    const row = this.#delete.get(space, key);
    if (!row) return { existed: false };
    batch.touch(`keys:${space}`);
    return { existed: row.expires_at === null || row.expires_at > batch.nowMs };
  }

  deletePrefix({ space, prefix }: DeletePrefix, batch: Batch): Outcome {
    const { changes } = this.#deleteRange.run(space, prefix, prefixEnd(prefix) ?? null);
    if (changes > 0) batch.touch(`keys:${space}`);
    return { existed: changes > 0, count: changes };
  }

  /** Removes up to `limit` expired entries; returns how many. */
  sweep(batch: Batch, limit: number): number {
    return this.#deleteExpired.run(batch.nowMs, limit).changes;
  }

  #demandEtag(space: string, key: string, etag: string, batch: Batch): void {
    const current = this.#etagOf(space, key, batch);
    if (current === etag) return;
    refuse("etag", current === undefined ? `key ${key} does not exist` : `key ${key} has changed`);
  }

  #etagOf(space: string, key: string, batch: Batch): string | undefined {
    const row = this.#live.get(space, key, batch.nowMs);
    return row ? String(row.etag) : undefined;
  }
}
