import type { SQLQueryBindings } from "bun:sqlite";
import { Connection } from "../sqlite/connection.ts";
import { prepareStoreFile } from "../sqlite/open-file.ts";
import {
  type Cell,
  type CopiedTable,
  type CopySource,
  type CopyTarget,
  copiedTables,
  pageRows,
} from "./tables.ts";

const busyTimeoutMs = 10_000;

/** The embedded store as a side of a copy. */
export class SqliteHome implements CopySource, CopyTarget {
  readonly #db: Connection;

  constructor(folder: string, role: "source" | "target") {
    this.#db = new Connection(prepareStoreFile(folder, { busyTimeoutMs }));
    this.#db.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    this.#db.run("PRAGMA synchronous = FULL");
    this.#db.run(role === "source" ? "BEGIN" : "BEGIN IMMEDIATE");
  }

  async livePeers(): Promise<number> {
    const [row] = this.#db.all<{ count: number }>(
      "SELECT count(*) AS count FROM keys WHERE space = 'peers' AND expires_at > ?",
      Date.now(),
    );
    return row?.count ?? 0;
  }

  async page(table: CopiedTable, after: readonly Cell[] | undefined): Promise<Cell[][]> {
    const key = table.key.map(columnOf).join(", ");
    const where = after ? `WHERE (${key}) > (${table.key.map(() => "?").join(", ")})` : "";
    const columns = table.columns.map(columnOf).join(", ");
    const rows = this.#db.all<Record<string, Cell>>(
      `SELECT ${columns} FROM ${table.name} ${where} ORDER BY ${key} LIMIT ${pageRows}`,
      ...((after ?? []) as SQLQueryBindings[]),
    );
    return rows.map((row) =>
      table.columns.map((column) => row[column === "seq" ? "offset" : column] ?? null),
    );
  }

  async revision(): Promise<number> {
    const [row] = this.#db.all<{ value: number }>("SELECT value FROM counters WHERE name = 'revision'");
    return row?.value ?? 0;
  }

  async isEmpty(): Promise<boolean> {
    return copiedTables.every(({ name }) => this.#db.all(`SELECT 1 FROM ${name} LIMIT 1`).length === 0);
  }

  async insert(table: CopiedTable, rows: readonly Cell[][]): Promise<void> {
    const marks = table.columns.map(() => "?").join(", ");
    const statement = this.#db.prepare(
      `INSERT INTO ${table.name} (${table.columns.map(columnOf).join(", ")}) VALUES (${marks})`,
    );
    for (const row of rows) statement.run(...(row as SQLQueryBindings[]));
  }

  async commit(revision: number): Promise<void> {
    this.#db.all("UPDATE counters SET value = ? WHERE name = 'revision'", revision);
    this.#db.run("COMMIT");
  }

  async close(): Promise<void> {
    if (this.#db.inTransaction) this.#db.run("ROLLBACK");
    this.#db.close();
  }
}

function columnOf(column: string): string {
  return column === "seq" ? "offset" : column;
}
