import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import { EtagInvalid, type SetRequest, type StateStore } from "../../component/state-store.ts";
import { openPostgresql, type Value } from "../clients/postgresql.ts";
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
  valueOf({ value, is_binary }) {
    const text = value as string;
    return is_binary ? Buffer.from(JSON.parse(text) as string, "base64") : Buffer.from(withoutSpaces(text));
  },
  storedForm,
  etagIs: (parameter) => `xmin = ${parameter}::text::xid`,
  checkedEtag(etag) {
    // Transactions have numbers of 32 bits.
    if (!/^\d{1,10}$/.test(etag) || Number(etag) > 0xffff_ffff) throw new EtagInvalid();
    return etag;
  },
};

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** JSON is kept as such when the server gives it back as it was; all else as base64, as Dapr does. */
function storedForm({ value, contentType = "" }: SetRequest): Value[] {
  if (/^application\/([\w.+-]+\+)?json\b/i.test(contentType)) {
    try {
      const text = decoder.decode(value);
      if (isKept(text)) return [text, false];
    } catch {
      // Not UTF-8, whatever its type says.
    }
  }
  return [JSON.stringify(Buffer.from(value).toString("base64")), true];
}

/** `jsonb` sorts the names of an object, drops spaces and repetitions, and knows no U+0000. */
function isKept(text: string): boolean {
  return !text.includes("\\u0000") && text.isWellFormed() && canonical(JSON.parse(text)) === text;
}

function canonical(value: unknown): string | undefined {
  if (typeof value === "number") return plainNumber.test(String(value)) ? String(value) : undefined;
  if (typeof value === "string") return value.isWellFormed() ? JSON.stringify(value) : undefined;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return joined("[", value.map(canonical), "]");
  const names = Object.keys(value).sort(byLengthAndBytes);
  const members = names.map((name) => {
    const member = canonical((value as Record<string, unknown>)[name]);
    return name.isWellFormed() && member !== undefined ? `${JSON.stringify(name)}:${member}` : undefined;
  });
  return joined("{", members, "}");
}

const plainNumber = /^-?\d+(\.\d+)?$/;

function joined(begin: string, parts: (string | undefined)[], end: string): string | undefined {
  return parts.includes(undefined) ? undefined : begin + parts.join(",") + end;
}

function byLengthAndBytes(one: string, other: string): number {
  const [first, second] = [Buffer.from(one), Buffer.from(other)];
  return first.length - second.length || first.compare(second);
}

/** The server writes spaces after colons and commas. */
function withoutSpaces(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");
}
