import { readFileSync } from "node:fs";

export interface MysqlAddress {
  host?: string;
  port?: number;
  socketPath?: string;
  user: string;
  password: string;
  database: string;
  ssl?: { ca?: string; rejectUnauthorized: boolean };
  /** For messages. */
  where: string;
}

/** Parameters of Go's driver that change nothing here. */
const known = [
  ...["allowNativePasswords", "allowCleartextPasswords", "allowOldPasswords", "charset", "checkConnLiveness"],
  ...["clientFoundRows", "collation", "columnsWithAlias", "interpolateParams", "loc", "maxAllowedPacket"],
  ...["multiStatements", "parseTime", "readTimeout", "timeout", "writeTimeout"],
];

/**
 * Where the server is: `user:password@tcp(host:port)/database?tls=true`, as Go's driver has it, or mysql://. `ca`:
 * certificates in PEM that may sign the server's.
 */
export function mysqlAddress(field: string, text: string, ca: string | undefined): MysqlAddress {
  const parts = text.startsWith("mysql://") ? ofUrl(text) : ofDsn(text);
  if (parts === undefined) {
    throw new Error(`${field} is neither user:password@tcp(host:port)/database nor mysql://…`);
  }
  const { query, ...address } = parts;
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (name !== "tls" && !known.includes(name)) throw new Error(`${field} has an unknown parameter ${name}`);
  }
  const where = address.socketPath ?? `${address.host}:${address.port}`;
  const ssl = sslOf(field, parameters.get("tls"), ca);
  return { ...address, where, ...(ssl && { ssl }) };
}

type Parts = Omit<MysqlAddress, "where" | "ssl"> & { query: string };

function ofDsn(text: string): Parts | undefined {
  const match =
    /^(?:(?<user>[^:@]*)(?::(?<password>.*))?@)?(?:(?<net>\w+)(?:\((?<address>[^)]*)\))?)?\/(?<database>[^?]*)(?:\?(?<query>.*))?$/.exec(
      text,
    );
  if (match?.groups === undefined) return undefined;
  const { user = "", password = "", net = "tcp", address = "", database = "", query = "" } = match.groups;
  const login = { user, password, database: decodeURIComponent(database), query };
  if (net === "unix") return { ...login, socketPath: address || "/tmp/mysql.sock" };
  if (net !== "tcp") return undefined;
  return { ...login, ...hostOf(address || "127.0.0.1:3306") };
}

function ofUrl(text: string): Parts | undefined {
  if (!URL.canParse(text)) return undefined;
  const { username, password, host, pathname, search } = new URL(text);
  return {
    ...{ user: decodeURIComponent(username), password: decodeURIComponent(password) },
    ...{ database: decodeURIComponent(pathname.slice(1)), query: search.slice(1) },
    ...hostOf(host || "127.0.0.1"),
  };
}

function hostOf(address: string): { host: string; port: number } {
  const [, host = "", port = "3306"] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(address) ?? [];
  return { host: host || "127.0.0.1", port: Number(port) };
}

function sslOf(field: string, mode: string | null, ca: string | undefined): MysqlAddress["ssl"] | undefined {
  if (mode === null || mode === "false")
    return ca === undefined ? undefined : { ca, rejectUnauthorized: true };
  if (mode === "skip-verify") return { rejectUnauthorized: false };
  if (mode === "custom" && ca === undefined) throw new Error(`tls=custom in ${field} needs pemPath`);
  if (mode !== "true" && mode !== "custom") {
    throw new Error(`tls=${mode} in ${field}: expected true, false, skip-verify or custom`);
  }
  return { rejectUnauthorized: true, ...(ca && { ca }) };
}

/** The text of a file of certificates. */
export function pemOf(path: string | undefined): string | undefined {
  if (!path) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`pemPath ${JSON.stringify(path)} can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
