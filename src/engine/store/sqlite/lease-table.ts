import type { Statement } from "bun:sqlite";
import type { LeaseResult, Outcome } from "../store.ts";
import { type Batch, refuse } from "./batch.ts";
import type { Connection } from "./connection.ts";

interface Row {
  owner: string;
  token: number;
  expires_at: number;
}

/** The writing side of leases. Tokens come from the store's one counter, so they grow even when a row is gone. */
export class LeaseTable {
  readonly #get: Statement<Row>;
  readonly #put: Statement;
  readonly #renew: Statement;
  readonly #release: Statement<{ expires_at: number }>;
  readonly #held: Statement<{ held: number }>;
  readonly #deleteExpired: Statement;

  constructor(db: Connection) {
    this.#get = db.prepare("SELECT owner, token, expires_at FROM leases WHERE name = ?");
    this.#put = db.prepare(
      "INSERT OR REPLACE INTO leases (name, owner, token, expires_at) VALUES (?, ?, ?, ?)",
    );
    this.#renew = db.prepare(
      "UPDATE leases SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?",
    );
    this.#release = db.prepare("DELETE FROM leases WHERE name = ? AND token = ? RETURNING expires_at");
    this.#held = db.prepare("SELECT 1 AS held FROM leases WHERE name = ? AND token = ? AND expires_at > ?");
    this.#deleteExpired = db.prepare(
      "DELETE FROM leases WHERE name IN (SELECT name FROM leases WHERE expires_at <= ? LIMIT ?)",
    );
  }

  acquire(request: { name: string; owner: string; ttlMs: number }, batch: Batch): LeaseResult {
    const { name, owner, ttlMs } = request;
    const current = this.#get.get(name);
    const isHeld = current !== null && current.expires_at > batch.nowMs;
    if (isHeld && current.owner !== owner) {
      const { token, expires_at: expiresAtMs } = current;
      return { held: false, lease: { name, owner: current.owner, token, expiresAtMs } };
    }
    const token = isHeld ? current.token : batch.nextRevision();
    const expiresAtMs = batch.nowMs + ttlMs;
    this.#put.run(name, owner, token, expiresAtMs);
    batch.touch(`lease:${name}`);
    return { held: true, token, expiresAtMs };
  }

  renew({ name, token, ttlMs }: { name: string; token: number; ttlMs: number }, batch: Batch): boolean {
    return this.#renew.run(batch.nowMs + ttlMs, name, token, batch.nowMs).changes > 0;
  }

  release({ name, token }: { name: string; token: number }, batch: Batch): boolean {
    const row = this.#release.get(name, token);
    if (!row) return false;
    batch.touch(`lease:${name}`);
    return row.expires_at > batch.nowMs;
  }

  guard({ lease, token }: { lease: string; token: number }, batch: Batch): Outcome {
    if (!this.#held.get(lease, token, batch.nowMs))
      refuse("lease", `lease ${lease} is not held with token ${token}`);
    return {};
  }

  sweep(batch: Batch, limit: number): number {
    return this.#deleteExpired.run(batch.nowMs, limit).changes;
  }
}
