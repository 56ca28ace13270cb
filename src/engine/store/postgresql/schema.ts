import { StoreFileRefused } from "../migrations.ts";
import { batchFunctions } from "./batch-functions.ts";
import { consumerFunctions } from "./consumer-functions.ts";
import type { Link } from "./link.ts";
import { lockClass, migrationLock } from "./locks.ts";
import { sweepFunctions } from "./sweep-functions.ts";
import { tables } from "./tables.ts";
import { writeFunctions } from "./write-functions.ts";

/**
 * Every schema a released mecha has written, oldest first; entry n brings a store from version n to n + 1.
 * Entries are never edited once released: add one.
 */
const migrations: readonly string[] = [
  tables + writeFunctions + batchFunctions + consumerFunctions + sweepFunctions,
];

export const schemaVersion = migrations.length;

/** Functions of `pg_current_snapshot` and others. */
const oldestServer = 130_000;

/** Brings the schema to this mecha's version, or refuses it. Safe when several processes do it at once. */
export async function migrate(
  link: Link,
  schema: string,
  shown: string,
  steps: readonly string[] = migrations,
): Promise<void> {
  await refuseServer(link, shown);
  const found = await readVersion(link, schema);
  refuseNewer(shown, found, steps.length);
  if (found === steps.length) return;
  // One query of many statements is one transaction; what another process did while this one waited is seen.
  await link.script(
    `SELECT pg_advisory_xact_lock(${lockClass(schema)}, ${migrationLock});
    CREATE SCHEMA IF NOT EXISTS ${schema};
    CREATE TABLE IF NOT EXISTS ${schema}.mecha_schema (version integer NOT NULL);
    ${steps.map((step, index) => conditional(schema, step, index)).join("\n")}`,
  );
  refuseNewer(shown, await readVersion(link, schema), steps.length);
}

/** 0 when there is no store. */
export async function readVersion(link: Link, schema: string): Promise<number> {
  const [there] = await link.read<{ found: boolean }>("SELECT to_regclass($1) IS NOT NULL AS found", [
    `${schema}.mecha_schema`,
  ]);
  if (!there?.found) return 0;
  const [row] = await link.read<{ version: number | null }>(
    `SELECT max(version) AS version FROM ${schema}.mecha_schema`,
  );
  return row?.version ?? 0;
}

export function refuseNewer(shown: string, found: number, known: number): void {
  if (found <= known) return;
  throw new StoreFileRefused(
    `this store was written by a newer mecha (schema ${found}, this one knows ${known}): ${shown}; ` +
      "upgrade this mecha, or name another schema with ?schema=",
  );
}

function conditional(schema: string, step: string, index: number): string {
  return `DO $migration$ BEGIN
    IF coalesce((SELECT max(version) FROM ${schema}.mecha_schema), 0) = ${index} THEN
      EXECUTE $step$${step}$step$;
      INSERT INTO ${schema}.mecha_schema VALUES (${index + 1});
    END IF;
  END $migration$;`;
}

async function refuseServer(link: Link, shown: string): Promise<void> {
  const [server] = await link.read<{ version: number; encoding: string }>(
    "SELECT current_setting('server_version_num')::integer AS version, current_setting('server_encoding') AS encoding",
  );
  if (server && server.version < oldestServer)
    throw new StoreFileRefused(`PostgreSQL 13 or newer is needed: ${shown}`);
  if (server && server.encoding !== "UTF8")
    throw new StoreFileRefused(`the database must have the encoding UTF8, not ${server.encoding}: ${shown}`);
}
