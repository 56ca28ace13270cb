import type { Binding, BindingReply, BindingRequest } from "../../component/binding.ts";
import { component } from "../../component/component.ts";
import { openPostgresql, type PostgresqlConnection, type Value } from "../clients/postgresql.ts";
import { postgresqlFields } from "../clients/postgresql-fields.ts";

export default component({
  type: "bindings.postgresql",
  version: "v1",
  status: "stable",
  summary: "SQL statements with parameters on a PostgreSQL database",
  package: "postgres",
  metadata: postgresqlFields,
  async open(options, host): Promise<Binding> {
    return new PostgresqlBinding(await openPostgresql(options, host));
  },
});

const operations = ["exec", "query", "close"];

class PostgresqlBinding implements Binding {
  readonly operations = operations;
  readonly #connection: PostgresqlConnection;
  #closing: Promise<void> | undefined;

  constructor(connection: PostgresqlConnection) {
    this.#connection = connection;
  }

  async invoke({ operation, metadata }: BindingRequest): Promise<BindingReply | undefined> {
    if (operation === "close") return void (await this.close());
    // The texts are Dapr's.
    if (this.#closing !== undefined) throw new Error("component is closed");
    const sql = metadata.sql ?? "";
    if (sql === "") throw new Error("required metadata not set: sql");
    const statement = { text: sql, values: parametersOf(metadata.params) };
    const started = performance.now();
    const reply = { operation, sql, "start-time": new Date().toISOString() };
    const end = () => ({
      "end-time": new Date().toISOString(),
      duration: `${(performance.now() - started).toFixed(3)}ms`,
    });
    if (operation === "exec") {
      const changed = await executed(this.#connection.change(statement));
      return { metadata: { ...reply, "rows-affected": String(changed), ...end() } };
    }
    if (operation !== "query")
      throw new Error(`invalid operation type: ${operation}. Expected ${operations.join(", ")}`);
    const rows = await executed(this.#connection.ask(statement));
    return { data: Buffer.from(JSON.stringify(rows, shown)), metadata: { ...reply, ...end() } };
  }

  close(): Promise<void> {
    this.#closing ??= this.#connection.close();
    return this.#closing;
  }
}

/** Values travel apart from the statement: nothing in them is SQL. */
function parametersOf(text: string | undefined): Value[] {
  if (!text) return [];
  const begin = "invalid metadata property params: failed to unserialize into an array";
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (error) {
    throw new Error(`${begin}: ${(error as Error).message}`, { cause: error });
  }
  if (!Array.isArray(values)) throw new Error(`${begin}: it is no array`);
  // Objects are for parameters of the type json.
  return values as Value[];
}

async function executed<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new Error(`error executing query: ${(error as Error).message}`, { cause: error });
  }
}

/** Bytes are base64, as in Dapr. A Buffer has turned itself into an object by then. */
function shown(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { type, data } = value as { type?: unknown; data?: unknown };
  return type === "Buffer" && Array.isArray(data) ? Buffer.from(data as number[]).toString("base64") : value;
}
