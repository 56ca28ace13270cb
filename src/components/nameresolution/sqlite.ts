import type { Database, Statement } from "bun:sqlite";
import { randomUUID } from "node:crypto";
import { component } from "../../component/component.ts";
import { duration, flag, text } from "../../component/fields.ts";
import {
  type AnnouncedRuntime,
  type Announcement,
  type FoundAddress,
  type NameResolver,
  parseAddress,
  type WantedApp,
} from "../../component/name-resolver.ts";
import { ExpirySweep } from "../../component/sweep.ts";
import type { ClockTimer } from "../../edges/clock.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { openSqlite, type SqliteConnection } from "../clients/sqlite.ts";
import { parseSqliteAddress } from "../clients/sqlite-address.ts";

export default component({
  type: "nameresolution.sqlite",
  version: "v1",
  status: "stable",
  summary: "A SQLite file that the runtimes of one machine share, in Dapr's own table layout",
  metadata: {
    connectionString: text({
      description: "path of the file, or a file: URI",
      required: true,
      aliases: ["url"],
    }),
    tableName: text({ description: "table of the runtimes", default: "hosts" }),
    metadataTableName: text({ description: "table of the layout's version", default: "metadata" }),
    updateInterval: duration({
      description: "a runtime that has not been heard of for so long is gone; whole seconds",
      default: 5_000,
      min: 1_000,
      max: 86_400_000,
    }),
    timeout: duration({
      description: "longest wait of a write; a second less than updateInterval, or shorter",
      default: 1_000,
      min: 1,
      aliases: ["timeoutInSeconds"],
    }),
    cleanupInterval: duration({
      description: "how often rows of runtimes that are gone are removed; 0 or less: never",
      default: 3_600_000,
      aliases: ["cleanupIntervalInSeconds"],
    }),
    busyTimeout: duration({
      description: "longest wait for another process's lock",
      default: 800,
      min: 0,
      max: 600_000,
      bareUnitMs: 1,
    }),
    disableWAL: flag({ description: "no write-ahead log, for network file systems", default: false }),
  },
  async open(options, { edges, log }): Promise<NameResolver> {
    const { updateInterval, timeout } = options;
    if (updateInterval % 1000 !== 0) throw new Error("updateInterval must not have fractions of seconds");
    if (updateInterval - timeout < 1000)
      throw new Error("updateInterval must be at least 1s greater than timeout");
    const hosts = identifier("tableName", options.tableName);
    const metadata = identifier("metadataTableName", options.metadataTableName);
    const address = parseSqliteAddress(options.connectionString);
    if (address.isReadOnly)
      throw new Error("connectionString opens the file for reading: runtimes write themselves into it");
    if (address.isInMemory)
      log.warn({}, "name resolution keeps its SQLite table in memory: apps of other processes are not found");
    const connection = await openSqlite(
      {
        ...{ address, clock: edges.clock, usesWal: !options.disableWAL },
        ...{ busyTimeoutMs: options.busyTimeout, timeoutMs: timeout },
      },
      (db) => createTables(db, { hosts, metadata }),
    );
    const { cleanupInterval: cleanupIntervalMs } = options;
    const times = { updateMs: updateInterval, timeoutMs: timeout, cleanupIntervalMs };
    return new SqliteResolver(connection, hosts, { edges, log, times });
  },
});

/** Names become part of statements. */
function identifier(field: string, name: string): string {
  if (/^[A-Za-z_]\w*$/.test(name)) return name;
  throw new Error(
    `invalid identifier: ${field} ${JSON.stringify(name)} must be letters, digits and underscores`,
  );
}

function createTables(db: Database, { hosts, metadata }: { hosts: string; metadata: string }): void {
  db.run(`CREATE TABLE IF NOT EXISTS ${metadata} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)`);
  db.run(`CREATE TABLE IF NOT EXISTS ${hosts} (
    registration_id TEXT NOT NULL PRIMARY KEY,
    address TEXT NOT NULL,
    app_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    last_update INTEGER NOT NULL
  )`);
  db.run(`CREATE UNIQUE INDEX IF NOT EXISTS ${hosts}_address_idx ON ${hosts} (address)`);
  db.run(`CREATE INDEX IF NOT EXISTS ${hosts}_last_update_idx ON ${hosts} (last_update)`);
  db.run(`INSERT OR IGNORE INTO ${metadata} (key, value) VALUES ('nr-migrations', '1')`);
}

/** A look costs some microseconds; a runtime that comes or goes is seen so much later. */
const freshMs = 500;
const addressesMax = 1000;

interface Surroundings {
  edges: Edges;
  log: Log;
  times: { updateMs: number; timeoutMs: number; cleanupIntervalMs: number };
}

class SqliteResolver implements NameResolver {
  readonly freshMs = freshMs;
  readonly reach = "machine";
  readonly #connection: SqliteConnection;
  readonly #hosts: string;
  readonly #surroundings: Surroundings;
  readonly #select: Statement<{ address: string; last_update: number }, [string, string, number, number]>;
  readonly #sweep: ExpirySweep;

  constructor(connection: SqliteConnection, hosts: string, surroundings: Surroundings) {
    this.#connection = connection;
    this.#hosts = hosts;
    this.#surroundings = surroundings;
    this.#select = connection.db.query(
      `SELECT address, last_update FROM ${hosts}
       WHERE app_id = ? AND namespace = ? AND last_update > ? ORDER BY address LIMIT ?`,
    );
    const { edges, log, times } = surroundings;
    const { cleanupIntervalMs } = times;
    this.#sweep = new ExpirySweep({ edges, log, cleanupIntervalMs }, () =>
      connection.write(
        () => void connection.db.run(`DELETE FROM ${hosts} WHERE last_update <= ?`, [this.#gone()]),
      ),
    );
  }

  async find({ appId, namespace }: WantedApp): Promise<readonly FoundAddress[]> {
    const { updateMs } = this.#surroundings.times;
    const rows = this.#select.all(appId, namespace, this.#gone(), addressesMax);
    return rows.map(({ address, last_update: atSeconds }) => ({
      ...parseAddress(address, 0),
      expiresAtMs: atSeconds * 1000 + updateMs,
    }));
  }

  async announce(self: AnnouncedRuntime): Promise<Announcement> {
    const row = new Row(self, this.#connection, this.#hosts, this.#surroundings);
    await row.open();
    return row;
  }

  async close(): Promise<void> {
    this.#sweep.cancel();
    this.#connection.close();
  }

  /** Who was last heard of then, or before, is gone. */
  #gone(): number {
    const { edges, times } = this.#surroundings;
    return secondsOf(edges.clock.now()) - times.updateMs / 1000;
  }
}

/** One runtime in the table, renewed twice as often as needed. */
class Row implements Announcement {
  readonly #id = randomUUID();
  readonly #self: AnnouncedRuntime;
  readonly #connection: SqliteConnection;
  readonly #hosts: string;
  readonly #surroundings: Surroundings;
  #timer: ClockTimer | undefined;
  #isClosed = false;

  constructor(
    self: AnnouncedRuntime,
    connection: SqliteConnection,
    hosts: string,
    surroundings: Surroundings,
  ) {
    this.#self = self;
    this.#connection = connection;
    this.#hosts = hosts;
    this.#surroundings = surroundings;
  }

  async open(): Promise<void> {
    await this.#write();
    this.#renewLater();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    const { db } = this.#connection;
    await this.#connection.write(
      () => void db.run(`DELETE FROM ${this.#hosts} WHERE registration_id = ?`, [this.#id]),
    );
  }

  #renewLater(): void {
    const { edges, log, times } = this.#surroundings;
    const renew = (): void => {
      if (this.#isClosed) return;
      this.#renewLater();
      this.#write().catch((error: unknown) => {
        if (!this.#isClosed)
          log.warn({ error }, "could not renew this app's row of the SQLite name resolution");
      });
    };
    const pauseMs = (times.updateMs - times.timeoutMs) / 2;
    this.#timer = edges.clock.setTimer(pauseMs, renew, { background: true });
  }

  /** Whoever had the address before is gone: a port has one owner. */
  #write(): Promise<void> {
    const { host, port, appId, namespace } = this.#self;
    const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    const now = secondsOf(this.#surroundings.edges.clock.now());
    return this.#connection.write(() => {
      if (this.#isClosed) return;
      this.#connection.db.run(
        `REPLACE INTO ${this.#hosts} (registration_id, address, app_id, namespace, last_update) VALUES (?, ?, ?, ?, ?)`,
        [this.#id, address, appId, namespace, now],
      );
    });
  }
}

function secondsOf(ms: number): number {
  return Math.floor(ms / 1000);
}
