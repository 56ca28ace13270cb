import { Database, type SQLQueryBindings, type Statement } from "bun:sqlite";

/**
 * A connection that knows its statements. SQLite keeps a closed file open, with its log and locks, until the last
 * statement is gone: they must end with the connection, not with the garbage collector.
 */
export class Connection {
  readonly #db: Database;
  readonly #statements: Statement[] = [];

  constructor(path: string) {
    this.#db = new Database(path, { readwrite: true });
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  prepare<Row>(sql: string): Statement<Row> {
    const statement = this.#db.prepare<Row, SQLQueryBindings[]>(sql);
    this.#statements.push(statement);
    return statement;
  }

  /** For what is asked now and then; what is asked often is prepared once. */
  all<Row>(sql: string, ...values: SQLQueryBindings[]): Row[] {
    const statement = this.#db.prepare<Row, SQLQueryBindings[]>(sql);
    try {
      return statement.all(...values);
    } finally {
      statement.finalize();
    }
  }

  /** One statement or several. */
  run(sql: string): void {
    this.#db.run(sql);
  }

  /** All or nothing, and under the write lock from its start. */
  transact(work: () => void): void {
    this.#db.transaction(work).immediate();
  }

  /** Reads of one moment. */
  snapshot<T>(look: () => T): T {
    return this.#db.transaction(look).deferred();
  }

  close(): void {
    for (const statement of this.#statements.splice(0)) statement.finalize();
    this.#db.close();
  }
}
