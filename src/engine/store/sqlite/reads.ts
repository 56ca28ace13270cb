import type { Statement } from "bun:sqlite";
import type { KeyEntry, Lease, ListOptions, StoreStats, Timer, TopicStats } from "../store.ts";
import { never } from "./claim-table.ts";
import type { Connection } from "./connection.ts";
import { prefixEnd } from "./prefix.ts";

interface KeyRow {
  key: string;
  etag: number;
  expires_at: number | null;
  content_type: string;
  value: Uint8Array;
}

interface TimerRow {
  id: string;
  claim: number;
  due_at: number;
  data: Uint8Array;
}

interface LeaseRow {
  owner: string;
  token: number;
  expires_at: number;
}

/** What a waiting consumer must know: is there anything, and if not, when may there be. */
export interface Outlook {
  isReady: boolean;
  /** When a delayed or leased message may be claimed; absent: only a change of the topic brings one. */
  nextAtMs?: number;
}

/** The reading side, on the main thread: a read costs a few microseconds and sees every acknowledged write. */
export class Reads {
  readonly #db: Connection;
  readonly #begin: Statement;
  readonly #end: Statement;
  readonly #get: Statement<KeyRow>;
  readonly #list: Statement<KeyRow>;
  readonly #outlook: Statement<{ at: number | null; fresh: number }>;
  readonly #groupExists: Statement<{ found: number }>;
  readonly #nextTimer: Statement<{ at: number | null }>;
  readonly #timer: Statement<TimerRow>;
  readonly #timers: Statement<TimerRow>;
  readonly #history: Statement<{ event: Uint8Array }>;
  readonly #lease: Statement<LeaseRow>;
  readonly #expired: Statement<{ found: number }>;
  readonly #anyMessages: Statement<{ found: number }>;
  readonly #owners: Statement<{ owner: string }>;
  readonly #dataVersion: Statement<{ data_version: number }>;

  constructor(db: Connection) {
    this.#db = db;
    this.#owners = db.prepare(
      `SELECT DISTINCT owner FROM (SELECT owner FROM claims WHERE owner IS NOT NULL LIMIT 10000)
       UNION SELECT DISTINCT owner FROM timers INDEXED BY timers_by_owner WHERE owner IS NOT NULL`,
    );
    this.#begin = db.prepare("BEGIN");
    this.#end = db.prepare("COMMIT");
    const keyColumns = "key, etag, expires_at, content_type, value";
    const live = "(expires_at IS NULL OR expires_at > ?3)";
    this.#get = db.prepare(`SELECT ${keyColumns} FROM keys WHERE space = ?1 AND key = ?2 AND ${live}`);
    this.#list = db.prepare(
      `SELECT ${keyColumns} FROM keys WHERE space = ?1 AND key >= ?2 AND ${live}
         AND (?4 IS NULL OR key < ?4) AND (?5 IS NULL OR key > ?5) ORDER BY key LIMIT ?6`,
    );
    this.#outlook = db.prepare(
      `SELECT (SELECT min(visible_at) FROM claims WHERE consumer = consumers.id) AS at,
         EXISTS (SELECT 1 FROM messages WHERE topic = topics.id AND offset > consumers.cursor) AS fresh
       FROM consumers JOIN topics ON topics.id = consumers.topic WHERE topics.name = ? AND consumers.name = ?`,
    );
    this.#groupExists = db.prepare(
      `SELECT 1 AS found FROM consumers JOIN topics ON topics.id = consumers.topic
       WHERE topics.name = ? AND consumers.name = ?`,
    );
    this.#nextTimer = db.prepare("SELECT min(visible_at) AS at FROM timers WHERE space = ?");
    this.#timer = db.prepare("SELECT id, claim, due_at, data FROM timers WHERE space = ? AND id = ?");
    this.#timers = db.prepare(
      `SELECT id, claim, due_at, data FROM timers WHERE space = ?1 AND id >= ?2
         AND (?3 IS NULL OR id < ?3) AND (?4 IS NULL OR id > ?4) ORDER BY id LIMIT ?5`,
    );
    this.#history = db.prepare(
      `SELECT event FROM events WHERE history = (SELECT id FROM histories WHERE instance = ?) AND position >= ?
       ORDER BY position`,
    );
    this.#lease = db.prepare("SELECT owner, token, expires_at FROM leases WHERE name = ? AND expires_at > ?");
    this.#expired = db.prepare(
      `SELECT 1 AS found WHERE EXISTS (SELECT 1 FROM keys WHERE expires_at <= ?1)
         OR EXISTS (SELECT 1 FROM leases WHERE expires_at <= ?1)`,
    );
    this.#anyMessages = db.prepare("SELECT 1 AS found FROM messages LIMIT 1");
    this.#dataVersion = db.prepare("PRAGMA data_version");
  }

  get(space: string, key: string, nowMs: number): KeyEntry | undefined {
    const row = this.#get.get(space, key, nowMs);
    return row ? toEntry(row) : undefined;
  }

  /** All from one moment: a commit is seen whole or not at all. */
  getMany(space: string, keys: readonly string[], nowMs: number): KeyEntry[] {
    this.#begin.run();
    try {
      return keys.flatMap((key) => this.get(space, key, nowMs) ?? []);
    } finally {
      this.#end.run();
    }
  }

  list(space: string, { prefix = "", after, limit }: ListOptions, nowMs: number): KeyEntry[] {
    const end = prefixEnd(prefix) ?? null;
    return this.#list.all(space, prefix, nowMs, end, after ?? null, limit).map(toEntry);
  }

  hasGroup(topic: string, group: string): boolean {
    return this.#groupExists.get(topic, group) !== null;
  }

  outlook(topic: string, group: string, nowMs: number): Outlook {
    const row = this.#outlook.get(topic, group);
    // A group that does not exist is "ready" for the claim that says so.
    if (!row || row.fresh) return { isReady: true };
    if (row.at === null || row.at === never) return { isReady: false };
    return { isReady: row.at <= nowMs, nextAtMs: row.at };
  }

  nextTimerAt(space: string): number | undefined {
    return this.#nextTimer.get(space)?.at ?? undefined;
  }

  getTimer(space: string, id: string): Timer | undefined {
    const row = this.#timer.get(space, id);
    return row ? toTimer(space, row) : undefined;
  }

  listTimers(space: string, { prefix = "", after, limit }: ListOptions): Timer[] {
    const rows = this.#timers.all(space, prefix, prefixEnd(prefix) ?? null, after ?? null, limit);
    return rows.map((row) => toTimer(space, row));
  }

  readHistory(instance: string, from: number): Uint8Array[] {
    return this.#history.all(instance, from).map((row) => row.event);
  }

  getLease(name: string, nowMs: number): Lease | undefined {
    const row = this.#lease.get(name, nowMs);
    if (!row) return undefined;
    return { name, owner: row.owner, token: row.token, expiresAtMs: row.expires_at };
  }

  /** Changes whenever another connection, also this process's writing thread, has committed. */
  /** Whoever has messages or timers in hand. */
  owners(): string[] {
    return this.#owners.all().map(({ owner }) => owner);
  }

  dataVersion(): number {
    return this.#dataVersion.get()?.data_version ?? 0;
  }

  hasExpired(nowMs: number): boolean {
    return this.#expired.get(nowMs) !== null;
  }

  hasMessages(): boolean {
    return this.#anyMessages.get() !== null;
  }

  topicStats(topic: string | undefined, nowMs: number): TopicStats[] {
    return readTopicStats(this.#db, topic, nowMs);
  }

  counts(): Counts {
    return readCounts(this.#db);
  }
}

export type Counts = Pick<StoreStats, "keys" | "messages" | "timers">;

export function readCounts(db: Connection): Counts {
  const [counts] = db.all<Counts>(
    `SELECT (SELECT value FROM counters WHERE name = 'keys') AS keys,
       (SELECT value FROM counters WHERE name = 'timers') AS timers,
       (SELECT coalesce(sum(messages), 0) FROM topics) AS messages`,
  );
  return counts ?? { keys: 0, messages: 0, timers: 0 };
}

interface TopicStatsRow {
  topic: string;
  messages: number;
  bytes: number;
  dropped: number;
  group: string | null;
  ahead: number;
  waiting: number;
  inFlight: number;
}

/** From counters, not by counting messages: a backlog of millions must not stop the event loop. */
function readTopicStats(db: Connection, topic: string | undefined, nowMs: number): TopicStats[] {
  const rows = db.all<TopicStatsRow>(
    `SELECT topics.name AS topic, messages, bytes, dropped, consumers.name AS "group", appended - passed AS ahead,
       (SELECT count(*) FROM claims WHERE consumer = consumers.id AND (claim = 0 OR visible_at <= ?2)) AS waiting,
       (SELECT count(*) FROM claims WHERE consumer = consumers.id AND claim > 0 AND visible_at > ?2) AS inFlight
     FROM topics LEFT JOIN consumers ON consumers.topic = topics.id
     WHERE ?1 IS NULL OR topics.name = ?1 ORDER BY topics.name, consumers.name`,
    topic ?? null,
    nowMs,
  );
  const byTopic = new Map<string, TopicStats>();
  for (const row of rows) {
    const { messages, bytes, dropped } = row;
    const stats = byTopic.get(row.topic) ?? { topic: row.topic, messages, bytes, dropped, groups: [] };
    byTopic.set(row.topic, stats);
    if (row.group === null) continue;
    stats.groups.push({ group: row.group, pending: row.ahead + row.waiting, inFlight: row.inFlight });
  }
  return [...byTopic.values()];
}

function toEntry(row: KeyRow): KeyEntry {
  const entry: KeyEntry = {
    key: row.key,
    value: row.value,
    etag: String(row.etag),
    contentType: row.content_type,
  };
  if (row.expires_at !== null) entry.expiresAtMs = row.expires_at;
  return entry;
}

function toTimer(space: string, row: TimerRow): Timer {
  return { space, id: row.id, claim: row.claim, dueAtMs: row.due_at, data: row.data };
}
