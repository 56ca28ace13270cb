import type { Log } from "../../telemetry/telemetry.ts";
import type { MysqlConnections } from "./mysql.ts";

/** Names become part of statements. */
export function identifier(field: string, name: string): string {
  if (/^[A-Za-z_]\w{0,63}$/.test(name)) return `\`${name}\``;
  throw new Error(`${field} ${JSON.stringify(name)} must be letters, digits and underscores, at most 64`);
}

export interface Tables {
  schemaName: string;
  tableName: string;
  /** With the schema, quoted. */
  table: string;
  metadataTable: string;
  log: Log;
}

/** Makes what is missing, as Dapr has it; several that begin at once make it once. */
export async function ensureTables(connections: MysqlConnections, tables: Tables): Promise<void> {
  const { table, metadataTable, schemaName, tableName, log } = tables;
  const run = (text: string) => connections.change({ text, values: [] });
  await run(`CREATE DATABASE IF NOT EXISTS \`${schemaName}\``);
  // Keys that differ in case or in blanks at their end are different keys.
  const collation = await exactCollation(connections);
  await run(`CREATE TABLE IF NOT EXISTS ${table} (
  id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE ${collation} NOT NULL PRIMARY KEY,
  value JSON NOT NULL,
  isbinary BOOLEAN NOT NULL,
  insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  eTag VARCHAR(36) NOT NULL,
  expiredate TIMESTAMP NULL,
  row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  INDEX expiredate_idx (expiredate),
  UNIQUE KEY row_id_uidx (row_id)
)`);
  await run(
    `CREATE TABLE IF NOT EXISTS ${metadataTable} (id VARCHAR(255) NOT NULL PRIMARY KEY, value TEXT NOT NULL)`,
  );
  const columns = await columnsOf(connections, tables);
  const missing = [
    columns.has("expiredate")
      ? []
      : ["ADD COLUMN expiredate TIMESTAMP NULL", "ADD INDEX expiredate_idx (expiredate)"],
    columns.has("row_id")
      ? []
      : ["ADD COLUMN row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT", "ADD UNIQUE KEY row_id_uidx (row_id)"],
  ].flat();
  if (missing.length > 0) await run(`ALTER TABLE ${table} ${missing.join(", ")}`).catch(unlessThere);
  if (columns.get("id")?.endsWith("_ci")) {
    const hint = `ALTER TABLE ${table} MODIFY id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE ${collation} NOT NULL`;
    log.warn({ hint }, `keys in ${schemaName}.${tableName} that differ only in case are one key`);
  }
}

async function exactCollation(connections: MysqlConnections): Promise<string> {
  const names = ["utf8mb4_nopad_bin", "utf8mb4_0900_bin"];
  const [found] = await connections.read<{ name: string }>(
    "SELECT COLLATION_NAME AS name FROM information_schema.COLLATIONS WHERE COLLATION_NAME IN (?, ?)",
    names,
  );
  return found?.name ?? "utf8mb4_bin";
}

/** Names of the columns with their collations. */
async function columnsOf(
  connections: MysqlConnections,
  { schemaName, tableName }: Tables,
): Promise<Map<string, string>> {
  const rows = await connections.read<{ name: string; collation: string | null }>(
    "SELECT COLUMN_NAME AS name, COLLATION_NAME AS collation FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?",
    [schemaName, tableName],
  );
  return new Map(rows.map(({ name, collation }) => [name.toLowerCase(), collation ?? ""]));
}

/** Somebody else was faster. */
function unlessThere(error: unknown): undefined {
  const { code } = error as { code?: string };
  if (code === "ER_DUP_FIELDNAME" || code === "ER_DUP_KEYNAME") return undefined;
  throw error;
}
