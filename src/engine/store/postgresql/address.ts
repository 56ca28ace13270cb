/** The store's address cannot be used; the message never holds the password. */
export class StoreAddressRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StoreAddressRefused";
  }
}

export interface StoreAddress {
  /** For the client library: with credentials, without mecha's own parameters. */
  url: string;
  schema: string;
  /** For logs and messages: without credentials. */
  shown: string;
}

const defaultSchema = "mecha";

/** `postgresql://user:password@host:port/database?schema=mecha&sslmode=verify-full` */
export function parseStoreAddress(text: string): StoreAddress {
  const url = URL.parse(text);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new StoreAddressRefused(
      "the store's address is not one of PostgreSQL: write postgresql://user:password@host:port/database",
    );
  }
  if (url.pathname.length < 2) throw new StoreAddressRefused("the store's address names no database");
  const schema = url.searchParams.get("schema") ?? defaultSchema;
  if (!/^[a-z_][a-z0-9_]{0,40}$/.test(schema)) {
    throw new StoreAddressRefused("the schema in the store's address must be like mecha or team_1");
  }
  url.searchParams.delete("schema");
  const user = url.username === "" ? "" : `${url.username}@`;
  return {
    url: url.href,
    schema,
    shown: `postgresql://${user}${url.host}${url.pathname} (schema ${schema})`,
  };
}

/** Whether a `--store` names PostgreSQL. */
export function isPostgresqlAddress(text: string): boolean {
  return /^postgres(ql)?:/.test(text);
}
