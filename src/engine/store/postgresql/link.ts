import type postgres from "postgres";
import { type Clock, realClock, sleep } from "../../../edges/clock.ts";
import { type Random, realRandom } from "../../../edges/random.ts";
import { StoreUnavailable } from "../store.ts";
import { codeOf, kindOf, QueryTimeout, toStoreUnavailable } from "./faults.ts";

export type Value = string | number | boolean | null | Uint8Array;

export interface Statement {
  text: string;
  values: readonly Value[];
}

export interface LinkOptions {
  /** `postgresql://…`, or the same as options of the client library. */
  server: string | Readonly<Record<string, unknown>>;
  /** Where tables are looked for; absent: where the server says. */
  schema?: string;
  /** Settings of each session in place of those of the store. */
  session?: Readonly<Record<string, string | number>>;
  /** Statements are not prepared: for pools between here and the server. */
  isUnprepared?: boolean;
  /** Connections at once. */
  max: number;
  /** How long one query may take; afterwards its connection is given up. */
  timeoutMs: number;
  /** How long a query waits for a server that is away, or is tried again. */
  patienceMs: number;
  onNotice?(payload: string): void;
  /** A connection was lost, or made for the first time and ended. */
  onClosed?(): void;
  /** Where waits and chance come from; tests bring their own. */
  clock?: Clock;
  random?: Random;
}

type Sql = postgres.Sql<{ bigint: number }>;

const firstDelayMs = 20;
const longestDelayMs = 1_000;

/** Connections to the server that come back by themselves, with one deadline round every query. */
export class Link {
  readonly #options: LinkOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #closed = new AbortController();
  #sql: Sql | undefined;
  #library: typeof postgres | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#random = options.random ?? realRandom;
  }

  /** A query that may be asked again when its answer was lost. */
  read<Row extends object>(text: string, values: readonly Value[] = []): Promise<Row[]> {
    return this.#query(text, values, false);
  }

  /** Sent once: rejects with `StoreUnavailable` "crashed" when it cannot be known whether it was done. */
  write<Row extends object>(text: string, values: readonly Value[] = []): Promise<Row[]> {
    return this.#query(text, values, true);
  }

  /** How many rows a statement has changed. Otherwise like `write`. */
  async change({ text, values }: Statement): Promise<number> {
    const ask = (sql: Sql) =>
      sql.unsafe(text, [...values] as never[], { prepare: !this.#options.isUnprepared });
    return ((await this.#untilAnswered(ask, true)) as { count: number }).count;
  }

  /** The rows that a statement answers with, columns in their order. Otherwise like `write`. */
  async ask({ text, values }: Statement): Promise<unknown[][]> {
    const ask = (sql: Sql) =>
      sql.unsafe(text, [...values] as never[], { prepare: !this.#options.isUnprepared }).values();
    const rows = (await this.#untilAnswered(ask, true)) as unknown[][];
    return rows.filter(() => true);
  }

  /** Several statements without values, in one transaction; they can be sent again, unless they are a write. */
  async script(text: string, { isWrite = false } = {}): Promise<void> {
    await this.#untilAnswered((sql) => sql.unsafe(text).simple(), isWrite);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    const sql = this.#sql;
    this.#sql = undefined;
    await sql?.end({ timeout: 1 });
  }

  async #query<Row extends object>(text: string, values: readonly Value[], isWrite: boolean): Promise<Row[]> {
    const ask = (sql: Sql) =>
      sql.unsafe(text, [...values] as never[], { prepare: !this.#options.isUnprepared });
    const rows = (await this.#untilAnswered(ask, isWrite)) as Row[];
    // postgres 3.4.9 counts on after a connection was lost within a result: the next one begins with holes.
    return rows.filter(() => true);
  }

  async #untilAnswered(ask: (sql: Sql) => Promise<unknown>, isWrite: boolean): Promise<unknown> {
    const giveUpAtMs = this.#clock.monotonicMs() + this.#options.patienceMs;
    for (let tries = 0; ; tries++) {
      if (this.#closed.signal.aborted) throw new StoreUnavailable("closed", "the store is closed");
      const sql = await this.#connections();
      try {
        return await this.#withDeadline(sql, ask(sql));
      } catch (error) {
        const kind = kindOf(error);
        if (kind === "lost" || codeOf(error) === "CONNECT_TIMEOUT") this.#leave(sql);
        const mayRetry = kind === "unreached" || kind === "undone" || (kind === "lost" && !isWrite);
        if (!mayRetry || this.#clock.monotonicMs() >= giveUpAtMs)
          throw toStoreUnavailable(error, isWrite) ?? error;
      }
      await sleep(this.#clock, this.#delayMs(tries), this.#closed.signal);
    }
  }

  /** Grows twofold, each time between half and all of it: processes that lost one server come back one by one. */
  #delayMs(tries: number): number {
    return Math.min(longestDelayMs, firstDelayMs * 2 ** tries) * (0.5 + this.#random.next() / 2);
  }

  async #withDeadline<T>(sql: object, query: Promise<T>): Promise<T> {
    const { timeoutMs } = this.#options;
    const late = Promise.withResolvers<never>();
    const timer = realClock.setTimer(timeoutMs, () => late.reject(new QueryTimeout(timeoutMs)));
    try {
      return await Promise.race([query, late.promise]);
    } catch (error) {
      if (error instanceof QueryTimeout) this.#giveUp(sql);
      throw error;
    } finally {
      timer.cancel();
      query.catch(() => undefined);
    }
  }

  /**
   * postgres 3.4.9 makes a connection anew in the place of one that was lost while something was about to be written,
   * and never writes again: others are made by others. What is under way at the old ones may end.
   */
  #leave(sql: Sql): void {
    if (this.#sql !== sql) return;
    this.#sql = undefined;
    void sql.end({ timeout: this.#options.timeoutMs / 1000 }).catch(() => undefined);
  }

  /** A server that is stopped keeps its connections open: leave them, make others. */
  #giveUp(sql: object): void {
    if (this.#sql !== sql) return;
    const old = this.#sql;
    this.#sql = undefined;
    void old?.end({ timeout: 0 }).catch(() => undefined);
    this.#options.onClosed?.();
  }

  async #connections(): Promise<Sql> {
    // Loaded here: a mecha on its embedded store never pays for it.
    this.#library ??= (await import("postgres")).default;
    this.#sql ??= this.#open(this.#library);
    return this.#sql;
  }

  #open(library: typeof postgres): Sql {
    const { server, schema, session, max, timeoutMs, onNotice, onClosed } = this.#options;
    const options = {
      ...(typeof server === "string" ? {} : server),
      max,
      // Less than the patience: there is time for another.
      connect_timeout: Math.max(1, Math.ceil(timeoutMs / 4000)),
      // This file waits by itself.
      backoff: () => 0,
      fetch_types: false,
      onnotice: () => undefined,
      onnotify: (_channel: string, payload: string) => onNotice?.(payload),
      onclose: () => onClosed?.(),
      // Numbers of the store fit in 53 bits.
      types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
      connection: {
        application_name: "mecha",
        ...(schema !== undefined && { search_path: schema }),
        ...(session ?? {
          synchronous_commit: "on",
          default_transaction_isolation: "read committed",
          statement_timeout: timeoutMs,
          client_min_messages: "warning",
          jit: "off",
        }),
      },
    };
    // The types know neither `onnotify` nor settings they have not heard of.
    return library(typeof server === "string" ? server : "", options as never) as unknown as Sql;
  }
}
