import type { Database, Statement } from "bun:sqlite";
import { component } from "../../component/component.ts";
import { duration, flag, text } from "../../component/fields.ts";
import { checkPattern, likePattern } from "../../component/like-pattern.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagMismatch,
  type GetRequest,
  joinFailures,
  type KeyFailure,
  type KeysLikeRequest,
  type KeysLikeResult,
  type SetRequest,
  type StateEntry,
  type StateFeature,
  type StateOperation,
  type StateStore,
} from "../../component/state-store.ts";
import { ExpirySweep } from "../../component/sweep.ts";
import type { Edges } from "../../edges/edges.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import { openSqlite, type SqliteConnection } from "../clients/sqlite.ts";
import { parseSqliteAddress } from "../clients/sqlite-address.ts";

export default component({
  type: "state.sqlite",
  version: "v1",
  status: "stable",
  summary: "A SQLite file, in Dapr's own table layout",
  metadata: {
    connectionString: text({ description: "path of the file, or a file: URI; :memory: keeps nothing" }),
    tableName: text({ description: "table of the values", default: "state" }),
    metadataTableName: text({ description: "table of the layout's version", default: "metadata" }),
    timeout: duration({
      description: "longest wait of a write",
      default: 20_000,
      min: 1_000,
      aliases: ["timeoutInSeconds"],
    }),
    cleanupInterval: duration({
      description: "how often expired rows are removed; 0 or less: never",
      default: 3_600_000,
      aliases: ["cleanupIntervalInSeconds"],
    }),
    busyTimeout: duration({
      description: "longest wait for another process's lock",
      default: 2_000,
      min: 0,
      max: 600_000,
      bareUnitMs: 1,
    }),
    disableWAL: flag({ description: "no write-ahead log, for network file systems", default: false }),
  },
  async open(options, { edges, log }): Promise<StateStore> {
    // The text is Dapr's.
    if (!options.connectionString) throw new Error("missing connection string");
    const tables = {
      state: identifier("tableName", options.tableName),
      metadata: identifier("metadataTableName", options.metadataTableName),
    };
    const connection = await openSqlite(
      {
        address: parseSqliteAddress(options.connectionString),
        clock: edges.clock,
        busyTimeoutMs: options.busyTimeout,
        timeoutMs: options.timeout,
        usesWal: !options.disableWAL,
      },
      (db) => createTables(db, tables),
    );
    return new SqliteStateStore(connection, tables, {
      edges,
      log,
      cleanupIntervalMs: options.cleanupInterval,
    });
  },
});

interface Tables {
  state: string;
  metadata: string;
}

/** Names become part of statements. */
function identifier(field: string, name: string): string {
  if (/^[A-Za-z_]\w*$/.test(name)) return name;
  throw new Error(
    `invalid identifier: ${field} ${JSON.stringify(name)} must be letters, digits and underscores`,
  );
}

function createTables(db: Database, { state, metadata }: Tables): void {
  db.run(`CREATE TABLE IF NOT EXISTS ${metadata} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)`);
  db.run(`CREATE TABLE IF NOT EXISTS ${state} (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    is_binary BOOLEAN NOT NULL,
    etag TEXT NOT NULL,
    expiration_time TIMESTAMP DEFAULT NULL,
    update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
  )`);
  db.run(`INSERT OR IGNORE INTO ${metadata} (key, value) VALUES ('migrations', '1')`);
}

interface Row {
  key: string;
  value: string;
  is_binary: number;
  etag: string;
  expiration_time: string | null;
}

type Values = (string | number | null)[];

interface Surroundings {
  edges: Edges;
  log: Log;
  cleanupIntervalMs: number;
}

const keysPerBatch = 500;
/** Another cleaner was at work when the last cleanup is younger than the interval; this much slack is fair. */
const cleanupSlackMs = 100;

class SqliteStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>([
    "ETAG",
    "TRANSACTIONAL",
    "TTL",
    "KEYS_LIKE",
  ]);
  readonly #connection: SqliteConnection;
  readonly #tables: Tables;
  readonly #surroundings: Surroundings;
  readonly #get: Statement<Row, [string, string]>;
  readonly #sweep: ExpirySweep;

  constructor(connection: SqliteConnection, tables: Tables, surroundings: Surroundings) {
    this.#connection = connection;
    this.#tables = tables;
    this.#surroundings = surroundings;
    this.#get = connection.db.query(
      `SELECT key, value, is_binary, etag, expiration_time FROM ${tables.state}
       WHERE key = ? AND (expiration_time IS NULL OR expiration_time > ?)`,
    );
    this.#sweep = new ExpirySweep(surroundings, () => connection.write(() => this.#cleanNow()));
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    const row = this.#get.get(key, this.#now());
    return row ? entryOf(row) : undefined;
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const nowText = this.#now();
    return requests.flatMap(({ key }) => {
      const row = this.#get.get(key, nowText);
      return row ? [{ key, ...entryOf(row) }] : [];
    });
  }

  set(request: SetRequest): Promise<void> {
    const write = this.#prepareSet(request);
    return this.#connection.write(write);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.#connection.write(() => this.#deleteNow(request));
  }

  bulkSet(requests: readonly SetRequest[]): Promise<void> {
    return each(requests, (request) => this.set(request));
  }

  bulkDelete(requests: readonly DeleteRequest[]): Promise<void> {
    return each(requests, (request) => this.delete(request));
  }

  transact(operations: readonly StateOperation[]): Promise<void> {
    const writes = operations.map((operation) =>
      operation.kind === "upsert"
        ? this.#prepareSet(operation.request)
        : () => this.#deleteNow(operation.request),
    );
    return this.#connection.write(() => {
      for (const write of writes) write();
    });
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    // LIKE of SQLite does not tell letters of different case apart: it narrows, the pattern decides.
    const pattern = likePattern(request.pattern);
    const select = this.#connection.db.query<{ key: string }, [string, string, string, number]>(
      `SELECT key FROM ${this.#tables.state} WHERE key LIKE ? ESCAPE '\\' AND key > ?
       AND (expiration_time IS NULL OR expiration_time > ?) ORDER BY key LIMIT ?`,
    );
    const limit = request.limit && request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
    const keys: string[] = [];
    let after = request.token ?? "";
    for (;;) {
      const rows = select.all(request.pattern, after, this.#now(), keysPerBatch);
      for (const { key } of rows) {
        if (!pattern.test(key)) continue;
        // One more than asked tells that there is a next page.
        if (keys.length === limit) return { keys, token: keys.at(-1) };
        keys.push(key);
      }
      if (rows.length < keysPerBatch) return { keys };
      after = rows.at(-1)?.key ?? after;
    }
  }

  async close(): Promise<void> {
    this.#sweep.cancel();
    this.#connection.close();
  }

  /** The value is made ready at once: the caller's bytes may change before the write. */
  #prepareSet(request: SetRequest): () => void {
    const { key, etag, concurrency, ttlSeconds } = request;
    const stored = storedForm(request);
    const expiry = ttlSeconds ? timestamp(this.#surroundings.edges.clock.now() + ttlSeconds * 1000) : null;
    const newEtag = this.#surroundings.edges.random.uuid();
    return () => {
      const now = this.#now();
      const values = [stored.value, stored.isBinary, newEtag, expiry, now.slice(0, 19)];
      const written = etag
        ? this.#update(values, [key, etag, now])
        : this.#insert(values, key, concurrency === "first-write" ? now : undefined);
      if (written === 0) throw new EtagMismatch();
    };
  }

  #update(values: Values, condition: [key: string, etag: string, now: string]): number {
    const update = this.#connection.db.query(
      `UPDATE ${this.#tables.state} SET value = ?, is_binary = ?, etag = ?, expiration_time = ?, update_time = ?
       WHERE key = ? AND etag = ? AND (expiration_time IS NULL OR expiration_time > ?)`,
    );
    return update.run(...values, ...condition).changes;
  }

  /** `ifAbsentAt`: only when no live row has the key then. */
  #insert(values: Values, key: string, ifAbsentAt: string | undefined): number {
    const { state } = this.#tables;
    const insert = `INSERT INTO ${state} (value, is_binary, etag, expiration_time, update_time, key)
      VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value,
      is_binary = excluded.is_binary, etag = excluded.etag, expiration_time = excluded.expiration_time,
      update_time = excluded.update_time`;
    const { db } = this.#connection;
    if (ifAbsentAt === undefined) return db.query(insert).run(...values, key).changes;
    const onlyExpired = `${insert} WHERE ${state}.expiration_time <= ?`;
    return db.query(onlyExpired).run(...values, key, ifAbsentAt).changes;
  }

  #deleteNow({ key, etag }: DeleteRequest): void {
    const { db } = this.#connection;
    const { state } = this.#tables;
    if (!etag) {
      db.query(`DELETE FROM ${state} WHERE key = ?`).run(key);
      return;
    }
    const live = "(expiration_time IS NULL OR expiration_time > ?)";
    const remove = db.query(`DELETE FROM ${state} WHERE key = ? AND etag = ? AND ${live}`);
    if (remove.run(key, etag, this.#now()).changes === 0) throw new EtagMismatch();
  }

  /** Of the processes that share the file one cleans per interval. */
  #cleanNow(): void {
    const { db } = this.#connection;
    const { state, metadata } = this.#tables;
    const { edges, cleanupIntervalMs } = this.#surroundings;
    const before = timestamp(edges.clock.now() - cleanupIntervalMs + cleanupSlackMs);
    const claim = db.query(
      `INSERT INTO ${metadata} (key, value) VALUES ('last-cleanup', ?1)
       ON CONFLICT (key) DO UPDATE SET value = ?1 WHERE value < ?2`,
    );
    if (claim.run(this.#now(), before).changes === 0) return;
    db.query(`DELETE FROM ${state} WHERE expiration_time IS NOT NULL AND expiration_time < ?`).run(
      this.#now(),
    );
  }

  #now(): string {
    return timestamp(this.#surroundings.edges.clock.now());
  }
}

/** As SQLite's own CURRENT_TIMESTAMP, with milliseconds: texts compare as times do. */
function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace("T", " ").replace("Z", "");
}

function entryOf({ value, is_binary, etag, expiration_time }: Row): StateEntry {
  return {
    value: Buffer.from(value, is_binary ? "base64" : "utf8"),
    etag,
    expiresAtMs: expiration_time === null ? undefined : Date.parse(`${expiration_time.replace(" ", "T")}Z`),
  };
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** JSON is kept as text, so that it can be queried with SQLite's functions; all else as base64, as Dapr does. */
function storedForm({ value, contentType = "" }: SetRequest): { value: string; isBinary: number } {
  if (/^application\/([\w.+-]+\+)?json\b/i.test(contentType)) {
    try {
      const decoded = decoder.decode(value);
      // SQLite's text functions end at a NUL.
      if (!decoded.includes("\0")) return { value: decoded, isBinary: 0 };
    } catch {
      // Not UTF-8, whatever its type says.
    }
  }
  return {
    value: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64"),
    isBinary: 1,
  };
}

async function each<R extends { key: string }>(
  requests: readonly R[],
  run: (request: R) => Promise<void>,
): Promise<void> {
  const failures: KeyFailure[] = [];
  const record = (key: string) => (error: Error) => void failures.push({ key, error });
  await Promise.all(requests.map((request) => run(request).catch(record(request.key))));
  if (failures.length > 0) throw joinFailures(failures);
}
