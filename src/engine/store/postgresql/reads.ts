import { prefixEnd } from "../sqlite/prefix.ts";
import type { KeyEntry, Lease, ListOptions, Timer, TopicStats } from "../store.ts";
import type { Link } from "./link.ts";
import { fromText, toText } from "./text.ts";

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

interface TopicRow {
  topic: string;
  messages: number;
  bytes: number;
  dropped: number;
  group: string | null;
  ahead: number;
  waiting: number;
  in_flight: number;
}

const keyColumns = "key, etag, expires_at, content_type, value";

/** The reading side: each a query of its own, over a few connections, that sees every acknowledged write. */
export class Reads {
  readonly #link: Link;
  readonly #nowMs: () => number | undefined;

  constructor(link: Link, nowMs: () => number | undefined) {
    this.#link = link;
    this.#nowMs = nowMs;
  }

  async get(space: string, key: string): Promise<KeyEntry | undefined> {
    const [row] = await this.#link.read<KeyRow>(
      `SELECT ${keyColumns} FROM keys WHERE space = $1 AND key = $2 AND (expires_at IS NULL OR expires_at > moment($3))`,
      [toText(space), toText(key), this.#now()],
    );
    return row && toEntry(row);
  }

  /** All from one moment: a commit is seen whole or not at all. In the order asked for. */
  async getMany(space: string, keys: readonly string[]): Promise<KeyEntry[]> {
    if (keys.length === 0) return [];
    const rows = await this.#link.read<KeyRow>(
      `SELECT ${keyColumns} FROM keys WHERE space = $1
         AND key = ANY (ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)))
         AND (expires_at IS NULL OR expires_at > moment($3))`,
      [toText(space), JSON.stringify(keys.map(toText)), this.#now()],
    );
    const found = new Map(rows.map((row) => [row.key, toEntry(row)]));
    return keys.flatMap((key) => found.get(toText(key)) ?? []);
  }

  async list(space: string, { prefix = "", after, limit }: ListOptions): Promise<KeyEntry[]> {
    const range = rangeOf(prefix, after);
    const rows = await this.#link.read<KeyRow>(
      `SELECT ${keyColumns} FROM keys WHERE space = $1 AND key >= $2 AND ($3::text IS NULL OR key < $3)
         AND ($4::text IS NULL OR key > $4) AND (expires_at IS NULL OR expires_at > moment($6)) ORDER BY key LIMIT $5`,
      [toText(space), ...range, limit, this.#now()],
    );
    return rows.map(toEntry);
  }

  async nextTimerAt(space: string): Promise<number | undefined> {
    const [row] = await this.#link.read<{ at: number | null }>(
      "SELECT min(visible_at) AS at FROM timers WHERE space = $1",
      [toText(space)],
    );
    return row?.at ?? undefined;
  }

  async getTimer(space: string, id: string): Promise<Timer | undefined> {
    const [row] = await this.#link.read<TimerRow>(
      "SELECT id, claim, due_at, data FROM timers WHERE space = $1 AND id = $2",
      [toText(space), toText(id)],
    );
    return row && toTimer(space, row);
  }

  async listTimers(space: string, { prefix = "", after, limit }: ListOptions): Promise<Timer[]> {
    const rows = await this.#link.read<TimerRow>(
      `SELECT id, claim, due_at, data FROM timers WHERE space = $1 AND id >= $2 AND ($3::text IS NULL OR id < $3)
         AND ($4::text IS NULL OR id > $4) ORDER BY id LIMIT $5`,
      [toText(space), ...rangeOf(prefix, after), limit],
    );
    return rows.map((row) => toTimer(space, row));
  }

  async readHistory(instance: string, from: number): Promise<Uint8Array[]> {
    const rows = await this.#link.read<{ event: Uint8Array }>(
      "SELECT event FROM history WHERE instance = $1 AND position >= $2 ORDER BY position",
      [toText(instance), from],
    );
    return rows.map(({ event }) => event);
  }

  async getLease(name: string): Promise<Lease | undefined> {
    const [row] = await this.#link.read<{ owner: string; token: number; expires_at: number }>(
      "SELECT owner, token, expires_at FROM leases WHERE name = $1 AND expires_at > moment($2)",
      [toText(name), this.#now()],
    );
    return row && { name, owner: fromText(row.owner), token: row.token, expiresAtMs: row.expires_at };
  }

  /** Backlogs come from counters, not from counting messages. */
  async topicStats(topic: string | undefined): Promise<TopicStats[]> {
    const rows = await this.#link.read<TopicRow>(
      `WITH clock AS (SELECT moment($2) AS now_ms)
       SELECT topics.name AS topic, messages, bytes, dropped, consumers.name AS "group", appended - passed AS ahead,
         (SELECT count(*) FROM claims WHERE consumer = consumers.id AND (claim = 0 OR visible_at <= now_ms)) AS waiting,
         (SELECT count(*) FROM claims WHERE consumer = consumers.id AND claim > 0 AND visible_at > now_ms) AS in_flight
       FROM clock, topics LEFT JOIN consumers ON consumers.topic = topics.id
       WHERE $1::text IS NULL OR topics.name = $1 ORDER BY topics.name, consumers.name`,
      [topic === undefined ? null : toText(topic), this.#now()],
    );
    const byTopic = new Map<string, TopicStats>();
    for (const row of rows) {
      const { messages, bytes, dropped } = row;
      const name = fromText(row.topic);
      const stats = byTopic.get(name) ?? { topic: name, messages, bytes, dropped, groups: [] };
      byTopic.set(name, stats);
      if (row.group === null) continue;
      stats.groups.push({
        group: fromText(row.group),
        pending: row.ahead + row.waiting,
        inFlight: row.in_flight,
      });
    }
    return [...byTopic.values()];
  }

  #now(): number | null {
    return this.#nowMs() ?? null;
  }
}

export interface Counts {
  keys: number;
  messages: number;
  timers: number;
  bytesOnDisk: number;
}

/** Large tables are estimated by what the server knows of them: counting millions would take seconds. */
export async function readCounts(link: Link): Promise<Counts> {
  const tables = await link.read<{ name: string; guess: number; bytes: number }>(
    `SELECT relname AS name, reltuples::bigint AS guess, pg_total_relation_size(pg_class.oid) AS bytes FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'`,
  );
  const [messages] = await link.read<{ count: number }>(
    "SELECT coalesce(sum(messages), 0)::bigint AS count FROM topics",
  );
  const countOf = async (name: "keys" | "timers"): Promise<number> => {
    const guess = tables.find((table) => table.name === name)?.guess ?? 0;
    if (guess > countedMax) return guess;
    return (await link.read<{ count: number }>(`SELECT count(*) AS count FROM ${name}`))[0]?.count ?? 0;
  };
  return {
    keys: await countOf("keys"),
    timers: await countOf("timers"),
    messages: messages?.count ?? 0,
    bytesOnDisk: tables.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

const countedMax = 100_000;

function rangeOf(
  given: string,
  after: string | undefined,
): [from: string, end: string | null, after: string | null] {
  const prefix = toText(given);
  return [prefix, prefixEnd(prefix) ?? null, after === undefined ? null : toText(after)];
}

function toEntry(row: KeyRow): KeyEntry {
  const { value, content_type, expires_at } = row;
  const entry: KeyEntry = {
    key: fromText(row.key),
    value,
    etag: String(row.etag),
    contentType: fromText(content_type),
  };
  if (expires_at !== null) entry.expiresAtMs = expires_at;
  return entry;
}

function toTimer(space: string, row: TimerRow): Timer {
  return { space, id: fromText(row.id), claim: row.claim, dueAtMs: row.due_at, data: row.data };
}
