import { duration, text } from "../../component/fields.ts";
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
import type { PostgresqlConnection, Statement, Value } from "./postgresql.ts";
import { postgresqlFields } from "./postgresql-fields.ts";
import { checkedText } from "./postgresql-tables.ts";

/** Of both versions of the component. */
export const postgresqlStateFields = {
  ...postgresqlFields,
  metadataTableName: text({
    description: "table of the layout's version, perhaps with a schema",
    default: "dapr_metadata",
  }),
  cleanupInterval: duration({
    description: "how often expired rows are removed; 0 or less: never",
    default: 3_600_000,
    aliases: ["cleanupIntervalInSeconds"],
  }),
};

/** How one version of the component keeps values. */
export interface Layout {
  table: string;
  metadataTable: string;
  /** `value`, `etag`, `expires` in milliseconds, and what else `valueOf` needs. */
  columns: string;
  expiryColumn: string;
  updatedColumn: string;
  /** The row of the metadata table with the time of the last cleanup. */
  cleanupKey: string;
  valueOf(row: Row): Uint8Array;
  /** Columns that a write sets, in order, and what they are set to: `$2` and on, or an expression. */
  written: Record<string, string>;
  /** The values for `$2` and on. */
  storedForm(request: SetRequest): Value[];
  /** Compares the etag with the value `$n`. */
  etagIs(parameter: string): string;
  /** Throws when it can not be one of this store. */
  checkedEtag(etag: string): Value;
}

export interface Row {
  key: string;
  value: unknown;
  is_binary?: boolean;
  etag: string;
  expires: number | null;
}

interface Surroundings {
  edges: Edges;
  log: Log;
  cleanupIntervalMs: number;
}

/** Another cleaner was at work when the last cleanup is younger than the interval; this much slack is fair. */
const cleanupSlackMs = 100;

export class PostgresqlStateStore implements StateStore {
  readonly features: ReadonlySet<StateFeature> = new Set<StateFeature>([
    "ETAG",
    "TRANSACTIONAL",
    "TTL",
    "KEYS_LIKE",
  ]);
  readonly #connection: PostgresqlConnection;
  readonly #layout: Layout;
  readonly #surroundings: Surroundings;
  readonly #select: string;
  readonly #isLive: string;
  readonly #sweep: ExpirySweep;

  constructor(connection: PostgresqlConnection, layout: Layout, surroundings: Surroundings) {
    const { table, columns, expiryColumn } = layout;
    this.#connection = connection;
    this.#layout = layout;
    this.#surroundings = surroundings;
    this.#isLive = `(${expiryColumn} IS NULL OR ${expiryColumn} > now())`;
    this.#select = `SELECT key, ${columns} FROM ${table} WHERE ${this.#isLive} AND key = ANY(ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))`;
    this.#sweep = new ExpirySweep(surroundings, () => this.#cleanNow());
  }

  async get({ key }: GetRequest): Promise<StateEntry | undefined> {
    const [row] = await this.#read([key]);
    return row && this.#entryOf(row);
  }

  async bulkGet(requests: readonly GetRequest[]): Promise<BulkEntry[]> {
    const rows = await this.#read(requests.map(({ key }) => key));
    return rows.map((row) => ({ key: row.key, ...this.#entryOf(row) }));
  }

  set(request: SetRequest): Promise<void> {
    return this.transact([{ kind: "upsert", request }]);
  }

  delete(request: DeleteRequest): Promise<void> {
    return this.transact([{ kind: "delete", request }]);
  }

  async transact(operations: readonly StateOperation[]): Promise<void> {
    const statements = operations.map((operation) => this.#statement(operation));
    const [only] = statements;
    if (only === undefined) return;
    if (statements.length === 1) {
      const changed = await this.#connection.change(only);
      if (changed === 0 && hasCondition(operations[0])) throw new EtagMismatch();
      return;
    }
    const checked = statements.map((statement, index) =>
      hasCondition(operations[index]) ? mustChange(statement) : statement,
    );
    try {
      await this.#connection.transact([this.#locks(operations), ...checked]);
    } catch (error) {
      throw isDivisionByZero(error) ? new EtagMismatch() : error;
    }
  }

  async keysLike(request: KeysLikeRequest): Promise<KeysLikeResult> {
    checkPattern(request);
    const { pattern, token = "", limit = 0 } = request;
    if (!/^\d{0,18}$/.test(token)) throw new Error(`invalid continue token: ${JSON.stringify(token)}`);
    // One more than asked tells that there is a next page.
    const rows = await this.#connection.read<{ key: string; row_id: number }>(
      `SELECT key, row_id FROM ${this.#layout.table} WHERE key LIKE $1 ESCAPE '\\' AND ${this.#isLive} AND row_id > $2
       ORDER BY row_id LIMIT $3`,
      [checkedText("a pattern", pattern), token || 0, limit > 0 ? limit + 1 : null],
    );
    const page = limit > 0 ? rows.slice(0, limit) : rows;
    const keys = page.map(({ key }) => key);
    return rows.length === page.length ? { keys } : { keys, token: String(page.at(-1)?.row_id) };
  }

  async close(): Promise<void> {
    this.#sweep.cancel();
    await this.#connection.close();
  }

  #read(keys: string[]): Promise<Row[]> {
    return this.#connection.read<Row>(this.#select, [JSON.stringify(keys.map(textOfKey))]);
  }

  #entryOf(row: Row): StateEntry {
    return { value: this.#layout.valueOf(row), etag: row.etag, expiresAtMs: row.expires ?? undefined };
  }

  /** Takes the rows in one order, so that transactions over the same keys wait for each other rather than block. */
  #locks(operations: readonly StateOperation[]): Statement {
    const keys = operations.map(({ request }) => request.key);
    const text = `SELECT 1 FROM ${this.#layout.table} WHERE key = ANY(ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))
      ORDER BY key FOR UPDATE`;
    return { text, values: [JSON.stringify(keys)] };
  }

  /** The value is made ready at once: the caller's bytes may change before the write. */
  #statement({ kind, request }: StateOperation): Statement {
    const { table, etagIs, checkedEtag } = this.#layout;
    const key = textOfKey(request.key);
    const etag = request.etag ? [checkedEtag(request.etag)] : [];
    if (kind === "delete") {
      const condition = etag.length > 0 ? ` AND ${etagIs("$2")} AND ${this.#isLive}` : "";
      return { text: `DELETE FROM ${table} WHERE key = $1${condition}`, values: [key, ...etag] };
    }
    const values = [key, ...this.#layout.storedForm(request)];
    const text = etag.length > 0 ? this.#update(request, `$${values.length + 1}`) : this.#upsert(request);
    return { text, values: [...values, ...etag] };
  }

  #assignments({ ttlSeconds }: SetRequest): Record<string, string> {
    const { written, expiryColumn } = this.#layout;
    const seconds = Math.trunc(ttlSeconds ?? 0);
    return { ...written, [expiryColumn]: seconds > 0 ? `now() + interval '${seconds} seconds'` : "NULL" };
  }

  #update(request: SetRequest, etag: string): string {
    const { table, etagIs } = this.#layout;
    return `UPDATE ${table} SET ${this.#touched(request)} WHERE key = $1 AND ${etagIs(etag)} AND ${this.#isLive}`;
  }

  #upsert(request: SetRequest): string {
    const { table, expiryColumn } = this.#layout;
    const assignments = this.#assignments(request);
    const columns = Object.keys(assignments).join(", ");
    // A row that has expired and was not yet removed is absent.
    const condition =
      request.concurrency === "first-write"
        ? ` WHERE t.${expiryColumn} IS NOT NULL AND t.${expiryColumn} <= now()`
        : "";
    return `INSERT INTO ${table} AS t (key, ${columns}) VALUES ($1, ${Object.values(assignments).join(", ")})
ON CONFLICT (key) DO UPDATE SET ${this.#touched(request)}${condition}`;
  }

  #touched(request: SetRequest): string {
    const updated = { ...this.#assignments(request), [this.#layout.updatedColumn]: "now()" };
    return Object.entries(updated)
      .map(([column, value]) => `${column} = ${value}`)
      .join(", ");
  }

  /** Of all that share the table, Dapr among them, one cleans per interval. */
  async #cleanNow(): Promise<void> {
    const { table, metadataTable, expiryColumn, cleanupKey } = this.#layout;
    const claimed = await this.#connection.change({
      text: `INSERT INTO ${metadataTable} AS m (key, value) VALUES ($1, now()::text)
        ON CONFLICT (key) DO UPDATE SET value = now()::text
        WHERE (extract(epoch FROM now() - m.value::timestamp with time zone) * 1000)::bigint > $2::bigint`,
      values: [cleanupKey, this.#surroundings.cleanupIntervalMs - cleanupSlackMs],
    });
    if (claimed > 0)
      await this.#connection.change({
        text: `DELETE FROM ${table} WHERE ${expiryColumn} < now()`,
        values: [],
      });
  }
}

/** Takes the transaction back when no row was changed: this division is the only one in it. */
function mustChange({ text, values }: Statement): Statement {
  return { text: `WITH changed AS (${text} RETURNING 1) SELECT 1 / count(*) FROM changed`, values };
}

function isDivisionByZero(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "22012";
}

function hasCondition(operation: StateOperation | undefined): boolean {
  if (operation === undefined) return false;
  const { kind, request } = operation;
  return Boolean(request.etag) || (kind === "upsert" && request.concurrency === "first-write");
}

function textOfKey(key: string): string {
  return checkedText("a key", key);
}
