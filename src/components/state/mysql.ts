import { randomUUID } from "node:crypto";
import { component } from "../../component/component.ts";
import { duration, number, text } from "../../component/fields.ts";
import { checkPattern } from "../../component/like-pattern.ts";
import {
  type BulkEntry,
  type DeleteRequest,
  EtagMismatch,
  type GetRequest,
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
import { bytesOfJson, storedForm } from "../clients/json-column.ts";
import { MysqlConnections, type Statement, type Value } from "../clients/mysql.ts";
import { mysqlAddress, pemOf } from "../clients/mysql-address.ts";
import { ensureTables, identifier } from "../clients/mysql-tables.ts";

export default component({
  type: "state.mysql",
  version: "v1",
  status: "stable",
  summary: "MySQL or MariaDB, in Dapr's layout",
  package: "mysql2",
  metadata: {
    connectionString: text({
      description: "user:password@tcp(host:port)/?tls=true, as Go's driver has it, or mysql://",
      required: true,
      sensitive: true,
    }),
    schemaName: text({ description: "the database; made when it is not there", default: "dapr_state_store" }),
    tableName: text({ description: "table of the keys", default: "state" }),
    metadataTableName: text({ description: "table of the last cleanup", default: "dapr_metadata" }),
    timeoutInSeconds: duration({
      description: "longest wait for an answer",
      default: 20_000,
      min: 1_000,
      max: 600_000,
      aliases: ["timeout"],
    }),
    pemPath: text({ description: "file of the certificates that may sign the server's" }),
    maxConns: number({ description: "connections at most", default: 4, min: 1, max: 1_000 }),
    cleanupInterval: duration({
      description: "how often expired rows are removed; 0 or less: never",
      default: 3_600_000,
      aliases: ["cleanupIntervalInSeconds"],
    }),
  },
  async open(options, host): Promise<StateStore> {
    const schema = identifier("schemaName", options.schemaName);
    const table = `${schema}.${identifier("tableName", options.tableName)}`;
    const metadataTable = `${schema}.${identifier("metadataTableName", options.metadataTableName)}`;
    const address = mysqlAddress("connectionString", options.connectionString, pemOf(options.pemPath));
    const connections = await MysqlConnections.open(address, {
      ...{ timeoutMs: options.timeoutInSeconds, connectionsMax: options.maxConns, edges: host.edges },
    });
    try {
      await ensureTables(connections, { ...options, table, metadataTable, log: host.log });
    } catch (error) {
      await connections.close();
      throw error;
    }
    return new MysqlStateStore(connections, {
      ...{ table, metadataTable, edges: host.edges, log: host.log },
      cleanupIntervalMs: options.cleanupInterval,
    });
  },
});

interface Settings {
  table: string;
  metadataTable: string;
  edges: Edges;
  log: Log;
  cleanupIntervalMs: number;
}

interface Row {
  id: string;
  value: string;
  eTag: string;
  isbinary: number;
  expires: number | string | null;
}

const isLive = "(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)";
const keysPerRead = 500;

class MysqlStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>([
    "ETAG",
    "TRANSACTIONAL",
    "TTL",
    "KEYS_LIKE",
  ]);
  readonly #connections: MysqlConnections;
  readonly #settings: Settings;
  readonly #sweep: ExpirySweep;

  constructor(connections: MysqlConnections, settings: Settings) {
    this.#connections = connections;
    this.#settings = settings;
    this.#sweep = new ExpirySweep(settings, () => this.#cleanNow());
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    const [row] = await this.#read([key]);
    return row && entryOf(row);
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const entries: BulkEntry[] = [];
    for (let start = 0; start < requests.length; start += keysPerRead) {
      const keys = requests.slice(start, start + keysPerRead).map(({ key }) => key);
      for (const row of await this.#read(keys)) entries.push({ key: row.id, ...entryOf(row) });
    }
    return entries;
  }

  set(request: SetRequest): Promise<void> {
    return this.transact([{ kind: "upsert", request }]);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.transact([{ kind: "delete", request }]);
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    // The values are made ready at once: the caller's bytes may change before the write.
    const changes = operations.map((operation) => ({
      statement: this.#statement(operation),
      mustChange: hasCondition(operation),
    }));
    const [only] = changes;
    if (only === undefined) return;
    if (changes.length === 1) {
      const changed = await this.#connections.change(only.statement);
      if (changed === 0 && only.mustChange) throw new EtagMismatch();
      return;
    }
    await this.#connections.transact(async (run) => {
      await run(this.#locks(operations));
      for (const { statement, mustChange } of changes) {
        if ((await run(statement)) === 0 && mustChange) throw new EtagMismatch();
      }
    });
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const { pattern, token = "", limit = 0 } = request;
    if (!/^\d{0,18}$/.test(token)) throw new Error(`invalid continue token: ${JSON.stringify(token)}`);
    // One more than asked tells that there is a next page.
    const page = limit > 0 ? ` LIMIT ${Math.trunc(limit) + 1}` : "";
    const rows = await this.#connections.read<{ id: string; row_id: number | string }>(
      `SELECT id, row_id FROM ${this.#settings.table} WHERE id LIKE ? AND ${isLive} AND row_id > ? ORDER BY row_id${page}`,
      [pattern, token || "0"],
    );
    const shown = limit > 0 ? rows.slice(0, limit) : rows;
    const keys = shown.map(({ id }) => id);
    return rows.length === shown.length ? { keys } : { keys, token: String(shown.at(-1)?.row_id) };
  }

  async close(): Promise<void> {
    this.#sweep.cancel();
    await this.#connections.close();
  }

  async #read(keys: readonly string[]): Promise<Row[]> {
    if (keys.length === 0) return [];
    const marks = keys.map(() => "?").join(", ");
    return this.#connections.read<Row>(
      `SELECT id, value, eTag, isbinary, UNIX_TIMESTAMP(expiredate) AS expires FROM ${this.#settings.table}
       WHERE id IN (${marks}) AND ${isLive}`,
      keys,
    );
  }

  /** Takes the rows in one order, so that transactions over the same keys wait for each other rather than block. */
  #locks(operations: readonly StateOperation[]): Statement {
    const keys = operations.map(({ request }) => request.key);
    const marks = keys.map(() => "?").join(", ");
    const text = `SELECT id FROM ${this.#settings.table} WHERE id IN (${marks}) ORDER BY id FOR UPDATE`;
    return { text, values: keys };
  }

  #statement({ kind, request }: StateOperation): Statement {
    const { table } = this.#settings;
    const { etag } = request;
    const key = checkedKey(request.key);
    if (kind === "delete") {
      const condition = etag ? ` AND eTag = ? AND ${isLive}` : "";
      return { text: `DELETE FROM ${table} WHERE id = ?${condition}`, values: etag ? [key, etag] : [key] };
    }
    const [value, isBinary] = storedForm(request);
    const values: Value[] = [value, randomUUID(), isBinary ? 1 : 0];
    const expiry = expiryOf(request);
    if (etag) {
      const text = `UPDATE ${table} SET value = ?, eTag = ?, isbinary = ?, expiredate = ${expiry} WHERE id = ? AND eTag = ? AND ${isLive}`;
      return { text, values: [...values, key, etag] };
    }
    return { text: this.#upsert(request, expiry), values: [key, ...values] };
  }

  /** Columns are set one after the other, and later ones see what was set: the expiry is the last. */
  #upsert({ concurrency }: SetRequest, expiry: string): string {
    const columns = ["value", "eTag", "isbinary", "insertDate", "expiredate"];
    const isFirst = concurrency === "first-write";
    // A row that has expired and was not yet removed is absent.
    const written = (column: string) =>
      isFirst ? `IF(${isLive}, ${column}, VALUES(${column}))` : `VALUES(${column})`;
    const assignments = columns.map((column) => `${column} = ${written(column)}`).join(", ");
    return `INSERT INTO ${this.#settings.table} (id, value, eTag, isbinary, insertDate, expiredate)
VALUES (?, ?, ?, ?, CURRENT_TIMESTAMP, ${expiry}) ON DUPLICATE KEY UPDATE ${assignments}`;
  }

  /** Of all that share the table, Dapr among them, one cleans per interval. */
  async #cleanNow(): Promise<void> {
    const { table, metadataTable, cleanupIntervalMs } = this.#settings;
    const microseconds = Math.trunc(cleanupIntervalMs * 1_000);
    const claimed = await this.#connections.change({
      text: `INSERT INTO ${metadataTable} (id, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP)
        ON DUPLICATE KEY UPDATE
        value = IF(CURRENT_TIMESTAMP > DATE_ADD(value, INTERVAL ${microseconds} MICROSECOND), CURRENT_TIMESTAMP, value)`,
      values: [],
    });
    if (claimed > 0)
      await this.#connections.change({
        text: `DELETE FROM ${table} WHERE expiredate IS NOT NULL AND expiredate <= CURRENT_TIMESTAMP`,
        values: [],
      });
  }
}

/** Of Dapr's table. */
const keyLengthMax = 255;

function checkedKey(key: string): string {
  const { length } = [...key];
  if (length <= keyLengthMax) return key;
  throw new Error(`the key has ${length} characters, and a key in MySQL has at most ${keyLengthMax}`);
}

/** Times are whole seconds, and nothing expires early. */
function expiryOf({ ttlSeconds }: SetRequest): string {
  const seconds = Math.trunc(ttlSeconds ?? 0);
  return seconds > 0 ? `FROM_UNIXTIME(CEIL(UNIX_TIMESTAMP(NOW(6))) + ${seconds})` : "NULL";
}

function entryOf({ value, eTag, isbinary, expires }: Row): StateEntry {
  return {
    value: bytesOfJson(value, isbinary === 1),
    etag: eTag,
    expiresAtMs: expires === null ? undefined : Number(expires) * 1_000,
  };
}

function hasCondition({ kind, request }: StateOperation): boolean {
  return Boolean(request.etag) || (kind === "upsert" && request.concurrency === "first-write");
}
