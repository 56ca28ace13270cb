import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import { EtagMismatch, type StateStore } from "../../component/state-store.ts";
import { openPostgresql } from "../clients/postgresql.ts";
import { type Layout, PostgresqlStateStore, postgresqlStateFields } from "../clients/postgresql-state.ts";
import { migrate, rowNumbers, tableName } from "../clients/postgresql-tables.ts";

export default component({
  type: "state.postgresql",
  version: "v2",
  status: "stable",
  summary: "PostgreSQL, in Dapr's second layout: bytes as they are, and etags that never come again",
  package: "postgres",
  metadata: {
    ...postgresqlStateFields,
    tablePrefix: text({
      description: "beginning of the table's name: a schema, a prefix or both",
      default: "",
    }),
  },
  async open(options, host): Promise<StateStore> {
    const { tablePrefix, metadataTableName, cleanupInterval } = options;
    const table = tableName("tablePrefix", `${tablePrefix}state`);
    const metadataTable = tableName("metadataTableName", metadataTableName);
    const connection = await openPostgresql(options, host);
    try {
      const key = `migrations-state-v2-${tablePrefix}`;
      await migrate(connection, { metadataTable, key, steps: migrations(table) });
    } catch (error) {
      await connection.close();
      throw error;
    }
    const layout = { ...columns, table, metadataTable, cleanupKey: `last-cleanup-state-v2-${tablePrefix}` };
    return new PostgresqlStateStore(connection, layout, { ...host, cleanupIntervalMs: cleanupInterval });
  },
});

function migrations(table: string): string[] {
  return [
    `CREATE TABLE IF NOT EXISTS ${table} (
  key text NOT NULL PRIMARY KEY,
  value bytea NOT NULL,
  etag uuid NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamp with time zone NOT NULL DEFAULT now(),
  updated_at timestamp with time zone,
  expires_at timestamp with time zone
);
CREATE INDEX ON ${table} (expires_at);`,
    rowNumbers(table, "created_at"),
  ];
}

const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

const columns: Omit<Layout, "table" | "metadataTable" | "cleanupKey"> = {
  columns: "value, etag::text AS etag, (extract(epoch FROM expires_at) * 1000)::bigint AS expires",
  expiryColumn: "expires_at",
  updatedColumn: "updated_at",
  written: { value: "$2", etag: "gen_random_uuid()" },
  valueOf: ({ value }) => value as Uint8Array,
  storedForm: ({ value }) => [Buffer.from(value)],
  etagIs: (parameter) => `etag = ${parameter}::text::uuid`,
  checkedEtag(etag) {
    // In Dapr too a text that is no UUID is one that does not match.
    if (!uuid.test(etag)) throw new EtagMismatch();
    return etag;
  },
};
