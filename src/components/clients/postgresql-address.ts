import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import type { Options } from "../../component/fields.ts";
import type { postgresqlFields } from "./postgresql-fields.ts";

type Given = Partial<Options<typeof postgresqlFields>>;

/** Where a server is and how to log in, as the client library takes it. */
export interface PostgresqlAddress {
  host: string;
  port: number;
  database: string;
  username: string;
  password: string | undefined;
  ssl: false | "prefer" | "require" | ConnectionOptions;
  /** Settings of the session. */
  connection: Record<string, string>;
  /** For messages: without the password. */
  shown: string;
}

/** Parameters of libpq that say where and how to connect; any other is a setting of the session. */
const known = new Set(
  [
    ["host", "hostaddr", "port", "user", "password", "database", "dbname", "connect_timeout"],
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "pool_max_conns", "target_session_attrs"],
  ].flat(),
);
const modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/** Reads a connection string in either of libpq's forms; fields beside it go before it, as in Dapr. */
export function postgresqlAddress(given: Given): PostgresqlAddress {
  const text = given.connectionString?.trim() ?? "";
  const values = /^postgres(ql)?:\/\//.test(text) ? fromUrl(text) : fromPairs(text);
  const { host, hostaddr, port, database, user, password, sslRootCert } = given;
  const own = { host, hostaddr, port: port?.toString(), database, user, password, sslrootcert: sslRootCert };
  for (const [name, value] of Object.entries(own)) if (value) values.set(name, value);
  // The text is Dapr's.
  if (values.size === 0) throw new Error("failed to build connection string");
  const username = values.get("user") ?? "postgres";
  const where = values.get("hostaddr") ?? values.get("host") ?? "localhost";
  const portNumber = checkedPort(values.get("port") ?? "5432");
  const name = values.get("database") ?? values.get("dbname") ?? username;
  const connection = [...values].filter(([parameter]) => !known.has(parameter));
  return {
    host: where,
    port: portNumber,
    database: name,
    username,
    password: values.get("password"),
    ssl: sslOf(values, values.get("host") ?? where),
    connection: Object.fromEntries(connection),
    shown: `${username}@${where}:${portNumber}/${name}`,
  };
}

function fromUrl(text: string): Map<string, string> {
  const url = URL.parse(text);
  if (url === null) throw new Error("invalid URL connection string: it is no URL");
  const values = new Map(url.searchParams);
  const parts = {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port,
    user: url.username,
    password: url.password,
    database: url.pathname.slice(1),
  };
  for (const [name, value] of Object.entries(parts)) if (value) values.set(name, decodeURIComponent(value));
  return values;
}

/** `name=value name='a value'`; a backslash takes the next character as it is. */
function fromPairs(text: string): Map<string, string> {
  const values = new Map<string, string>();
  const pair = /\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)/gy;
  let end = 0;
  for (const match of text.matchAll(pair)) {
    const [whole, name = "", quoted, plain = ""] = match;
    values.set(name.toLowerCase(), (quoted ?? plain).replace(/\\(.)/g, "$1"));
    end = match.index + whole.length;
  }
  if (text.slice(end).trim() !== "") {
    const how = "write name=value pairs, or a URL that begins with postgresql://";
    throw new Error(
      `failed to parse connection string: it is not understood from character ${end + 1} on; ${how}`,
    );
  }
  return values;
}

function checkedPort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port > 0 && port < 65_536) return port;
  throw new Error(`failed to parse connection string: invalid port ${JSON.stringify(text)}`);
}

function sslOf(values: ReadonlyMap<string, string>, host: string): PostgresqlAddress["ssl"] {
  const mode = values.get("sslmode") ?? "prefer";
  if (!modes.includes(mode))
    throw new Error(
      `failed to parse connection string: sslmode ${JSON.stringify(mode)} is none of ${modes.join(", ")}`,
    );
  const [root, certificate, key] = ["sslrootcert", "sslcert", "sslkey"].map((name) => values.get(name));
  if (mode === "disable" || host.startsWith("/")) return false;
  if (!certificate !== !key) throw new Error("sslcert and sslkey need each other");
  const identity = certificate && key ? { cert: pem("sslcert", certificate), key: pem("sslkey", key) } : {};
  const isPlain = root === undefined && certificate === undefined;
  if (isPlain && (mode === "allow" || mode === "prefer")) return "prefer";
  if (isPlain && mode === "require") return "require";
  // A root beside `require` makes it check the certificate, as in libpq.
  const isChecked = mode.startsWith("verify-") || (mode === "require" && root !== undefined);
  const ca = root === undefined ? {} : { ca: pem("sslrootcert", root) };
  const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
  const anyName = mode === "verify-full" ? {} : { checkServerIdentity: () => undefined };
  return { ...identity, ...ca, ...servername, ...anyName, rejectUnauthorized: isChecked };
}

/** A file, or the text itself. */
function pem(parameter: string, value: string): string {
  if (value.includes("-----BEGIN")) return value;
  try {
    return readFileSync(value, "utf8");
  } catch (error) {
    throw new Error(`${parameter} can not be read: ${(error as Error).message}`, { cause: error });
  }
}
