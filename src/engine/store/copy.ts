import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Cell,
  type CopiedTable,
  type CopySource,
  type CopyTarget,
  copiedTables,
} from "./copy/tables.ts";
import { isShared } from "./open.ts";
import { storeFileName } from "./sqlite/open-file.ts";

/** Rows copied, by table. */
export type CopyReport = Record<string, number>;

/** The copy cannot be made; nothing was written. */
export class StoreCopyRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StoreCopyRefused";
  }
}

/** A side of a copy: a data folder, or an address of PostgreSQL. */
export type CopySide = { folder: string } | { address: string };

export function copySideOf(text: string): CopySide {
  return /^[a-z]+:\/\//.test(text) && isShared(text) ? { address: text } : { folder: text };
}

/**
 * Copies keys, messages with their groups and claims, timers, histories and leases into an empty store, all or
 * nothing. Etags, offsets and tokens stay what they are, and go on growing in the copy.
 */
export async function copyStore(from: CopySide, to: CopySide): Promise<CopyReport> {
  const source = await openSource(from);
  let target: CopyTarget | undefined;
  try {
    const peers = await source.livePeers();
    if (peers > 0) {
      const them = peers === 1 ? "a runtime: stop it" : `${peers} runtimes: stop them`;
      throw new StoreCopyRefused(
        `the source is in use by ${them} first (one that was killed is forgotten after 30 seconds)`,
      );
    }
    target = await openTarget(to);
    if (!(await target.isEmpty()))
      throw new StoreCopyRefused("the target holds data already: name an empty one");
    const report: CopyReport = {};
    for (const table of copiedTables) report[table.name] = await copyTable(table, source, target);
    await target.commit(await source.revision());
    return report;
  } finally {
    await target?.close();
    await source.close();
  }
}

async function copyTable(table: CopiedTable, source: CopySource, target: CopyTarget): Promise<number> {
  const key = table.key.map((column) => table.columns.indexOf(column));
  let count = 0;
  for (let after: Cell[] | undefined; ; ) {
    const rows = await source.page(table, after);
    const last = rows.at(-1);
    if (!last) return count;
    await target.insert(table, rows);
    count += rows.length;
    after = key.map((index) => last[index] ?? null);
  }
}

async function openSource(side: CopySide): Promise<CopySource> {
  if ("address" in side) {
    const { PostgresqlHome } = await import("./copy/postgresql-home.ts");
    return PostgresqlHome.open(side.address, "source");
  }
  if (!existsSync(join(side.folder, storeFileName)))
    throw new StoreCopyRefused(`there is no store in ${side.folder}`);
  const { SqliteHome } = await import("./copy/sqlite-home.ts");
  return new SqliteHome(side.folder, "source");
}

async function openTarget(side: CopySide): Promise<CopyTarget> {
  if ("address" in side) {
    const { PostgresqlHome } = await import("./copy/postgresql-home.ts");
    return PostgresqlHome.open(side.address, "target");
  }
  const { SqliteHome } = await import("./copy/sqlite-home.ts");
  return new SqliteHome(side.folder, "target");
}
