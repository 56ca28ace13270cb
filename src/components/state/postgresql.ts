import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import { EtagInvalid, type StateStore } from "../../component/state-store.ts";
import { bytesOfJson, storedForm } from "../clients/json-column.ts";
import { openPostgresql } from "../clients/postgresql.ts";
import { type Layout, PostgresqlStateStore, postgresqlStateFields } from "../clients/postgresql-state.ts";
import { migrate, rowNumbers, tableName } from "../clients/postgresql-tables.ts";

export default component({
  type: "state.postgresql",
  version: "v1",
  status: "stable",
  summary: "PostgreSQL, in Dapr's first layout: JSON that can be queried, row versions as etags",
  package: "postgres",
  metadata: {
    ...postgresqlStateFields,
    tableName: text({ description: "table of the values, perhaps with a schema", default: "state" }),
  },
  async open(options, host): Promise<StateStore> {
    const table = tableName("tableName", options.tableName);
    const metadataTable = tableName("metadataTableName", options.metadataTableName);
    const connection = await openPostgresql(options, host);
    try {
      await migrate(connection, { metadataTable, key: "migrations", steps: migrations(table) });
    } catch (error) {
      await connection.close();
      throw error;
    }
    const layout = { ...columns, table, metadataTable, cleanupKey: "last-cleanup" };
    return new PostgresqlStateStore(connection, layout, {
      ...host,
      cleanupIntervalMs: options.cleanupInterval,
    });
  },
});

function migrations(table: string): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
  key text NOT NULL PRIMARY KEY,
  value jsonb NOT NULL,
  isbinary boolean NOT NULL,
  insertdate timestamp with time zone NOT NULL DEFAULT now(),
  updatedate timestamp with time zone NULL
);`,
    `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS expiredate timestamp with time zone;`,
    rowNumbers(table, "insertdate"),
  ];
}

const columns: Omit<Layout, "table" | "metadataTable" | "cleanupKey"> = {
  columns:
    "value::text AS value, isbinary AS is_binary, xmin::text AS etag, (extract(epoch FROM expiredate) * 1000)::bigint AS expires",
  expiryColumn: "expiredate",
  updatedColumn: "updatedate",
  written: { value: "$2::text::jsonb", isbinary: "$3" },
  valueOf: ({ value, is_binary }) => bytesOfJson(value as string, is_binary === true),
  storedForm,
  etagIs: (parameter) => `xmin = ${parameter}::text::xid`,
  checkedEtag(etag) {
    // Transactions have numbers of 32 bits.
    if (!/^\d{1,10}$/.test(etag) || Number(etag) > 0xffff_ffff) throw new EtagInvalid();
    return etag;
  },
};
