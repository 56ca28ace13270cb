import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";

export interface SqlDatabase {
  /** How many rows were changed. */
  change(text: string, values: unknown[]): Promise<number>;
  /** What is shown of the rows. */
  query(text: string, values: unknown[]): Promise<unknown>;
  close(): Promise<void>;
}

const operations = ["exec", "query", "close"];

/** Statements with parameters, in Dapr's form. */
export class SqlBinding implements Binding {
  readonly operations = operations;
  readonly #database: SqlDatabase;
  #closing: Promise<void> | undefined;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  async invoke({ operation, metadata }: BindingRequest): Promise<BindingReply | undefined> {
    if (operation === "close") return void (await this.close());
    // The texts are Dapr's.
    if (this.#closing !== undefined) throw new Error("component is closed");
    const sql = metadata.sql ?? "";
    if (sql === "") throw new Error("required metadata not set: sql");
    const values = parametersOf(metadata.params);
    const started = performance.now();
    const reply = { operation, sql, "start-time": new Date().toISOString() };
    const end = () => ({
      "end-time": new Date().toISOString(),
      duration: `${(performance.now() - started).toFixed(3)}ms`,
    });
    if (operation === "exec") {
      const changed = await executed(this.#database.change(sql, values));
      return { metadata: { ...reply, "rows-affected": String(changed), ...end() } };
    }
    if (operation !== "query")
      throw new Error(`invalid operation type: ${operation}. Expected ${operations.join(", ")}`);
    const rows = await executed(this.#database.query(sql, values));
    return { data: Buffer.from(JSON.stringify(rows, shown)), metadata: { ...reply, ...end() } };
  }

  close(): Promise<void> {
    this.#closing ??= this.#database.close();
    return this.#closing;
  }
}

/** Values travel apart from the statement: nothing in them is SQL. */
function parametersOf(text: string | undefined): unknown[] {
  if (!text) return [];
  const begin = "invalid metadata property params: failed to unserialize into an array";
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (error) {
    throw new Error(`${begin}: ${(error as Error).message}`, { cause: error });
  }
  if (!Array.isArray(values)) throw new Error(`${begin}: it is no array`);
  return values;
}

async function executed<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    // Says itself whether it was done.
    if (error instanceof ServerUnavailable) throw error;
    throw new Error(`error executing query: ${(error as Error).message}`, { cause: error });
  }
}

/** Bytes are base64, as in Dapr. A Buffer has turned itself into an object by then. */
function shown(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { type, data } = value as { type?: unknown; data?: unknown };
  return type === "Buffer" && Array.isArray(data) ? Buffer.from(data as number[]).toString("base64") : value;
}
