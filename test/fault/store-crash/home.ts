import { Database } from "bun:sqlite";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { checkStore } from "../../../src/engine/store/maintenance.ts";
import { checkPostgresqlStore } from "../../../src/engine/store/postgresql/maintenance.ts";
import { openPostgresqlStore } from "../../../src/engine/store/postgresql.ts";
import { openSqliteStore } from "../../../src/engine/store/sqlite.ts";
import type { Store } from "../../../src/engine/store/store.ts";
import { until } from "../../../src/testing/index.ts";
import type { Service } from "../../services.ts";

/** One store that crashes, and a look into its tables past the store itself. */
export interface CrashHome {
  /** Folder or address: what a child process opens. */
  place: string;
  open(): Promise<Store>;
  /** What is wrong with the store by itself. */
  check(): Promise<string[]>;
  events(): Promise<Set<string>>;
  messages(topic: string): Promise<Set<string>>;
  /** Messages that the group has not finished. */
  waiting(topic: string, group: string): Promise<Set<string>>;
  /** What killed processes have sent is done or gone: a server may be at it still when they are dead. */
  settled?(): Promise<void>;
  /** Ends the server without warning and starts it again; absent where there is none. */
  crashServer?(): Promise<void>;
  remove(): Promise<void>;
}

export type MakeHome = () => Promise<CrashHome>;

export function openPlace(place: string, sweepEveryMs?: number): Promise<Store> {
  const options = sweepEveryMs === undefined ? {} : { sweepEveryMs };
  return place.startsWith("postgresql:")
    ? openPostgresqlStore({ address: place, ...options })
    : openSqliteStore({ folder: place, ...options });
}

export async function sqliteHome(): Promise<CrashHome> {
  const place = await mkdtemp(join(tmpdir(), "mecha-crash-"));
  const look = async (sql: string, ...values: string[]): Promise<Set<string>> => {
    const db = new Database(join(place, "mecha.db"), { readonly: true });
    try {
      const rows = db.prepare(sql).values(...values);
      return new Set(rows.map(([data]) => decode(data as Uint8Array)));
    } finally {
      db.close();
    }
  };
  return {
    place,
    open: () => openPlace(place),
    check: async () => (await checkStore(place)).problems,
    events: () => look("SELECT event FROM history"),
    messages: (topic) => look("SELECT data FROM messages JOIN topics ON id = topic WHERE name = ?", topic),
    waiting: (topic, group) => look(waitingSql("offset", ["?", "?"]), topic, group),
    remove: () => rm(place, { recursive: true, force: true }),
  };
}

let schemas = 0;

/** A schema of its own on a running server. */
export function postgresqlHome(server: Service): MakeHome {
  return async () => {
    schemas += 1;
    const schema = `crash_${schemas}`;
    const place = `${server.details.url}?schema=${schema}`;
    const look = async (sql: string, ...values: string[]): Promise<Set<string>> => {
      const settings = { max: 1, onnotice: () => undefined, connection: { search_path: schema } };
      const db = postgres(String(server.details.url), settings);
      try {
        const rows = await db.unsafe(sql, values);
        return new Set(rows.map((row) => decode(Object.values(row)[0] as Uint8Array)));
      } finally {
        await db.end();
      }
    };
    return {
      place,
      open: () => openPlace(place),
      check: async () => (await checkPostgresqlStore(place)).problems,
      events: () => look("SELECT event FROM history"),
      messages: (topic) => look("SELECT data FROM messages JOIN topics ON id = topic WHERE name = $1", topic),
      waiting: (topic, group) => look(waitingSql("seq", ["$1", "$2"]), topic, group),
      settled: () => sessionsEnded(String(server.details.url)),
      crashServer: () => crash(server),
      remove: async () => undefined,
    };
  };
}

async function sessionsEnded(url: string): Promise<void> {
  const db = postgres(url, { max: 1 });
  try {
    await until(async () => {
      const [row] = await db`SELECT count(*)::int AS others FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`;
      return row?.others === 0;
    }, "the sessions of killed runtimes have ended");
  } finally {
    await db.end();
  }
}

/** A session that began in that very moment outlives the server a little, and keeps the next one from starting. */
async function crash(server: Service): Promise<void> {
  for (let triesLeft = 50; ; triesLeft--) {
    await server.kill();
    try {
      return await server.start();
    } catch (error) {
      if (triesLeft === 0 || !String(error).includes("pre-existing shared memory")) throw error;
      await Bun.sleep(50);
    }
  }
}

function waitingSql(number: string, [topic, group]: [string, string]): string {
  return `SELECT data FROM messages JOIN topics ON topics.id = messages.topic
      JOIN consumers ON consumers.topic = topics.id
    WHERE topics.name = ${topic} AND consumers.name = ${group} AND (messages.${number} > consumers.cursor OR EXISTS
      (SELECT 1 FROM claims WHERE consumer = consumers.id AND claims.${number} = messages.${number}))`;
}

export function decode(value: Uint8Array): string {
  return new TextDecoder().decode(value).replace(/\.*$/, "");
}
