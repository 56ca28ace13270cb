import type { ComponentHost } from "../../component/component.ts";
import type { Options } from "../../component/fields.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { Link, type LinkOptions, type Statement, type Value } from "../../engine/store/postgresql/link.ts";
import { StoreUnavailable } from "../../engine/store/store.ts";
import { type PostgresqlAddress, postgresqlAddress } from "./postgresql-address.ts";
import type { postgresqlFields } from "./postgresql-fields.ts";

export type PostgresqlSettings = Options<typeof postgresqlFields>;
export type { Statement, Value };

const connectionsDefault = 4;
/** How long a call waits for a server that is away. */
const patienceMax = 5_000;

/** Connects, or rejects with the reason. `more`: of the connections, for one that listens. */
export async function openPostgresql(
  settings: PostgresqlSettings,
  { edges }: Pick<ComponentHost, "edges">,
  more: Partial<Pick<LinkOptions, "max" | "onNotice" | "onClosed">> = {},
): Promise<PostgresqlConnection> {
  const address = postgresqlAddress(settings);
  const connection = new PostgresqlConnection(
    new Link({ ...linkOptions(settings, address, edges), ...more }),
  );
  try {
    await connection.read("SELECT 1 AS one");
  } catch (error) {
    await connection.close();
    const { message } = error as Error;
    // The beginning is Dapr's.
    throw new Error(`failed to ping the database: ${address.shown}: ${message}`, { cause: error });
  }
  return connection;
}

function linkOptions(
  { timeout, maxConns, connectionMaxIdleTime, queryExecMode }: PostgresqlSettings,
  { shown: _, connection, ...server }: PostgresqlAddress,
  { clock, random }: ComponentHost["edges"],
): LinkOptions {
  const isUnprepared = queryExecMode !== "cache_statement";
  const idle = connectionMaxIdleTime && { idle_timeout: connectionMaxIdleTime / 1000 };
  // Pools refuse settings that they do not know.
  const own: LinkOptions["session"] = isUnprepared
    ? {}
    : { synchronous_commit: "on", statement_timeout: timeout };
  return {
    ...{ clock, random, isUnprepared },
    server: { ...server, ...idle },
    session: { ...own, ...connection },
    max: maxConns > 0 ? maxConns : connectionsDefault,
    timeoutMs: timeout,
    patienceMs: Math.min(timeout, patienceMax),
  };
}

/** Connections to a server that come back by themselves. Each call has an end, and writes are sent once. */
export class PostgresqlConnection {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  read<Row extends object>(text: string, values: readonly Value[] = []): Promise<Row[]> {
    return answered(this.#link.read<Row>(text, values));
  }

  /** Answers how many rows the statement has changed. */
  change(statement: Statement): Promise<number> {
    return answered(this.#link.change(statement));
  }

  /** The rows that a statement answers with, columns in their order; it is sent once. */
  ask(statement: Statement): Promise<unknown[][]> {
    return answered(this.#link.ask(statement));
  }

  /**
   * All or nothing, in one message: this library's own transactions end the process when their connection is lost.
   * Values become literals.
   */
  transact(statements: readonly Statement[]): Promise<void> {
    return answered(this.#link.script(statements.map(inline).join(";\n"), { isWrite: true }));
  }

  /** Statements without values that may be sent twice, in one transaction. */
  script(text: string): Promise<void> {
    return answered(this.#link.script(text));
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}

function inline({ text, values }: Statement): string {
  return text.replace(/\$(\d+)/g, (_, number: string) => literal(values[Number(number) - 1] ?? null));
}

function literal(value: Value): string {
  if (value === null) return "NULL";
  if (value instanceof Uint8Array) return `E'\\\\x${Buffer.from(value).toString("hex")}'::bytea`;
  // Escapes mean the same whatever the server's settings are.
  if (typeof value === "string") return `E'${value.replace(/[\\']/g, "\\$&")}'`;
  return String(value);
}

async function answered<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error;
    const outcome = error.reason === "crashed" ? "unknown" : "undone";
    throw new ServerUnavailable(error.message, outcome, error);
  }
}
