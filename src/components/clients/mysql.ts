import type { Pool, PoolConnection, ResultSetHeader, RowDataPacket } from "mysql2/promise";
import { pause, pauseBefore } from "../../component/pause.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { NoAnswer, withinTime } from "../../component/within-time.ts";
import type { Edges } from "../../edges/edges.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { MysqlAddress } from "./mysql-address.ts";

export type Value = string | number | boolean | null | Uint8Array;

export interface Statement {
  text: string;
  values: readonly Value[];
}

export interface MysqlOptions {
  timeoutMs: number;
  connectionsMax: number;
  idleMs?: number | undefined;
  edges: Edges;
}

const patienceMaxMs = 5_000;
const firstPauseMs = 20;
const pauseMaxMs = 500;
const waitingMax = 20_000;
const triesOfDeadlocks = 20;

/** Connections to a server that come back by themselves. Each call has an end, and writes are sent once. */
export class MysqlConnections {
  readonly #pool: Pool;
  readonly #where: string;
  readonly #options: MysqlOptions;
  readonly #closed = new AbortController();
  #waiting = 0;

  private constructor(pool: Pool, where: string, options: MysqlOptions) {
    this.#pool = pool;
    this.#where = where;
    this.#options = options;
  }

  /** Connects, or rejects with the reason. */
  static async open(address: MysqlAddress, options: MysqlOptions): Promise<MysqlConnections> {
    const { createPool } = await import("mysql2/promise");
    const { where, ...server } = address;
    const { timeoutMs, connectionsMax, idleMs } = options;
    const pool = createPool({
      ...server,
      ...{ connectionLimit: connectionsMax, connectTimeout: Math.min(timeoutMs, patienceMaxMs) },
      ...(idleMs !== undefined && { idleTimeout: idleMs, maxIdle: 0 }),
      ...{ enableKeepAlive: true, keepAliveInitialDelay: 5_000 },
      // Digits and dates as the server has them.
      ...{ supportBigNumbers: true, bigNumberStrings: false, timezone: "Z", jsonStrings: true },
      // How many rows were changed, not how many were found.
      flags: ["-FOUND_ROWS"],
      charset: "utf8mb4",
    });
    pool.on("connection", (connection) => {
      // Nothing is cut off in silence, and times are those of one zone.
      connection.query(
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'",
      );
    });
    const connections = new MysqlConnections(pool, where, options);
    try {
      await connections.#once((connection) => connection.query("SELECT 1"));
    } catch (error) {
      await connections.close();
      throw new Error(`error connecting to mysql at ${where}: ${messageOf(error)}`, { cause: error });
    }
    return connections;
  }

  /** Sent again when its answer was lost. */
  async read<Row extends object>(text: string, values: readonly Value[] = []): Promise<Row[]> {
    const [rows] = await this.#ask(true, (connection) =>
      connection.execute<RowDataPacket[]>(text, [...values]),
    );
    return rows as unknown as Row[];
  }

  /** Rows of a statement that is sent once. */
  async ask({ text, values }: Statement): Promise<object[]> {
    const [rows] = await this.#ask(false, (connection) =>
      // Not every statement can be prepared.
      values.length === 0
        ? connection.query<RowDataPacket[]>(text)
        : connection.execute<RowDataPacket[]>(text, [...values]),
    );
    return rows;
  }

  /** How many rows were changed. */
  async change({ text, values }: Statement): Promise<number> {
    const [result] = await this.#retryingDeadlocks(() =>
      this.#ask(false, (connection) => connection.execute<ResultSetHeader>(text, [...values])),
    );
    return result.affectedRows;
  }

  /**
   * All or nothing, at the end of `work`, which says how; what it rejects with takes everything back. Done again when
   * the server has chosen it to end a deadlock.
   */
  transact(work: (run: (statement: Statement) => Promise<number>) => Promise<void>): Promise<void> {
    return this.#retryingDeadlocks(() => this.#ask(false, (connection) => transaction(connection, work)));
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#pool.end().catch(() => undefined);
  }

  async #retryingDeadlocks<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!isDeadlock(error) || tries >= triesOfDeadlocks) throw error;
        await this.#pause(this.#options.edges.random.next() * firstPauseMs * Math.min(tries, 5));
      }
    }
  }

  async #ask<T>(isRead: boolean, send: (connection: PoolConnection) => Promise<T>): Promise<T> {
    if (this.#waiting >= waitingMax) throw this.#unavailable("too many statements wait already", "undone");
    this.#waiting++;
    try {
      return await this.#askAgain(isRead, send);
    } finally {
      this.#waiting--;
    }
  }

  async #askAgain<T>(isRead: boolean, send: (connection: PoolConnection) => Promise<T>): Promise<T> {
    const { clock, random } = this.#options.edges;
    const endMs = clock.monotonicMs() + Math.min(this.#options.timeoutMs, patienceMaxMs);
    for (let tries = 0; ; tries++) {
      let isSent = false;
      try {
        return await this.#once(send, () => {
          isSent = true;
        });
      } catch (error) {
        if (!isLost(error)) throw error;
        const pauseMs = pauseBefore(tries, { firstMs: firstPauseMs, maxMs: pauseMaxMs, random });
        const outcome = isSent && !isRead ? "unknown" : "undone";
        const isEnd = error instanceof NoAnswer || clock.monotonicMs() + pauseMs > endMs;
        if (outcome === "unknown" || isEnd || this.#closed.signal.aborted) {
          throw this.#unavailable(messageOf(error), outcome, error);
        }
        await this.#pause(pauseMs);
      }
    }
  }

  /** With one connection; a connection that is lost or late is not used again. */
  async #once<T>(send: (connection: PoolConnection) => Promise<T>, sent: () => void = () => {}): Promise<T> {
    const getting = this.#pool.getConnection();
    const connection = await this.#inTime(
      getting,
      () =>
        void getting.then(
          (late) => late.release(),
          () => {},
        ),
    );
    let isUsable = true;
    try {
      sent();
      return await this.#inTime(send(connection), () => connection.destroy());
    } catch (error) {
      isUsable = !isLost(error);
      throw error;
    } finally {
      if (isUsable) connection.release();
      else connection.destroy();
    }
  }

  #inTime<T>(work: Promise<T>, leave: () => void): Promise<T> {
    const { timeoutMs, edges } = this.#options;
    return withinTime(edges.clock, timeoutMs, work, leave);
  }

  #pause(ms: number): Promise<void> {
    return pause(this.#options.edges.clock, ms);
  }

  #unavailable(text: string, outcome: "undone" | "unknown", cause?: unknown): ServerUnavailable {
    return new ServerUnavailable(`mysql at ${this.#where}: ${text}`, outcome, cause);
  }
}

async function transaction(
  connection: PoolConnection,
  work: (run: (statement: Statement) => Promise<number>) => Promise<void>,
): Promise<void> {
  await connection.query("START TRANSACTION");
  try {
    await work(async ({ text, values }) => {
      const [result] = await connection.execute<ResultSetHeader>(text, [...values]);
      return result.affectedRows ?? 0;
    });
  } catch (error) {
    if (!isLost(error)) await connection.query("ROLLBACK");
    throw error;
  }
  await connection.query("COMMIT");
}

function isDeadlock(error: unknown): boolean {
  const { code } = error as { code?: string };
  return code === "ER_LOCK_DEADLOCK" || code === "ER_LOCK_WAIT_TIMEOUT" || code === "ER_CHECKREAD";
}

/** Nothing more comes by this connection: the server, or the way to it, is gone. */
function isLost(error: unknown): boolean {
  if (error instanceof NoAnswer) return true;
  const { code = "", fatal, message = "" } = error as { code?: string; fatal?: boolean; message?: string };
  const isRefused = /^ER_(ACCESS_DENIED|DBACCESS_DENIED|BAD_DB|HOST_NOT_PRIVILEGED)/.test(code);
  return (
    (fatal === true && !isRefused) ||
    /^(ECONN|EPIPE|ETIMEDOUT|PROTOCOL_CONNECTION_LOST|ER_SERVER_SHUTDOWN|ER_CON_COUNT_ERROR)/.test(code) ||
    /closed state|Pool is closed/.test(message)
  );
}
