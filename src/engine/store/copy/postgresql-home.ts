import { parseStoreAddress } from "../postgresql/address.ts";
import { Link, type Value } from "../postgresql/link.ts";
import { lockClass } from "../postgresql/locks.ts";
import { migrate } from "../postgresql/schema.ts";
import { fromText, toText } from "../postgresql/text.ts";
import { StoreUnavailable } from "../store.ts";
import {
  type Cell,
  type CopiedTable,
  type CopySource,
  type CopyTarget,
  copiedTables,
  pageRows,
} from "./tables.ts";

/** A schema of PostgreSQL as a side of a copy: one transaction on one connection. */
export class PostgresqlHome implements CopySource, CopyTarget {
  readonly #link: Link;
  readonly #schema: string;
  readonly #state: { isOpen: boolean; isLost: boolean };

  private constructor(link: Link, schema: string, state: { isOpen: boolean; isLost: boolean }) {
    this.#link = link;
    this.#schema = schema;
    this.#state = state;
  }

  static async open(address: string, role: "source" | "target"): Promise<PostgresqlHome> {
    const { url, schema, shown } = parseStoreAddress(address);
    const state = { isOpen: false, isLost: false };
    const onClosed = (): void => {
      if (state.isOpen) state.isLost = true;
    };
    const link = new Link({ server: url, schema, max: 1, timeoutMs: 300_000, patienceMs: 5_000, onClosed });
    const home = new PostgresqlHome(link, schema, state);
    try {
      await migrate(link, schema, shown);
      await link.write(role === "source" ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" : "BEGIN");
      state.isOpen = true;
      if (role === "target") await home.#run("SELECT take_locks($1, true, '{}')", [lockClass(schema)]);
      return home;
    } catch (error) {
      await home.close();
      throw error;
    }
  }

  async livePeers(): Promise<number> {
    const [row] = await this.#run<{ count: number }>(
      "SELECT count(*) AS count FROM keys WHERE space = 'peers' AND expires_at > moment(NULL)",
    );
    return row?.count ?? 0;
  }

  async page(table: CopiedTable, after: readonly Cell[] | undefined): Promise<Cell[][]> {
    const key = table.key.join(", ");
    const where = after ? `WHERE (${key}) > (${after.map((_, index) => `$${index + 1}`).join(", ")})` : "";
    const rows = await this.#run<Record<string, Cell>>(
      `SELECT ${table.columns.join(", ")} FROM ${table.name} ${where} ORDER BY ${key} LIMIT ${pageRows}`,
      (after ?? []).map(stored),
    );
    return rows.map((row) =>
      table.columns.map((column) => {
        const cell = row[column] ?? null;
        return typeof cell === "string" ? fromText(cell) : cell;
      }),
    );
  }

  async revision(): Promise<number> {
    const [row] = await this.#run<{ value: number }>("SELECT last_value AS value FROM revision");
    return row?.value ?? 0;
  }

  async isEmpty(): Promise<boolean> {
    for (const { name } of copiedTables) {
      if ((await this.#run(`SELECT 1 AS found FROM ${name} LIMIT 1`)).length > 0) return false;
    }
    return true;
  }

  async insert({ name, columns }: CopiedTable, rows: readonly Cell[][]): Promise<void> {
    if (rows.length === 0) return;
    const values = rows.map(
      (row, at) => `(${row.map((_, index) => `$${at * row.length + index + 1}`).join(", ")})`,
    );
    await this.#run(
      `INSERT INTO ${name} (${columns.join(", ")}) OVERRIDING SYSTEM VALUE VALUES ${values.join(", ")}`,
      rows.flat().map(stored),
    );
  }

  async commit(revision: number): Promise<void> {
    await this.#run("SELECT setval('revision', greatest($1::bigint, 1))", [revision]);
    for (const table of ["topics", "consumers"]) {
      await this.#run(
        `SELECT setval(pg_get_serial_sequence('${this.#schema}.${table}', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM ${table}))`,
      );
    }
    await this.#run("COMMIT");
    this.#state.isOpen = false;
  }

  async close(): Promise<void> {
    // The server undoes what was not committed.
    this.#state.isOpen = false;
    await this.#link.close();
  }

  /** Never on another connection than the one that the transaction is on. */
  async #run<Row extends object>(text: string, values: readonly Value[] = []): Promise<Row[]> {
    if (this.#state.isLost)
      throw new StoreUnavailable("crashed", "the connection was lost in the middle of the copy");
    const rows = await this.#link.write<Row>(text, values);
    if (this.#state.isLost)
      throw new StoreUnavailable("crashed", "the connection was lost in the middle of the copy");
    return rows;
  }
}

function stored(cell: Cell): Value {
  return typeof cell === "string" ? toText(cell) : cell;
}
