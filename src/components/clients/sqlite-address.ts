/** Where a SQLite connection string of Dapr points to. */
export interface SqliteAddress {
  path: string;
  isInMemory: boolean;
  isReadOnly: boolean;
  /** Statements to run on the new connection. */
  pragmas: string[];
}

/** Options that other metadata fields set. */
const reserved: Record<string, string> = {
  busy_timeout: "busyTimeout",
  journal_mode: "disableWAL",
};

/** Reads `data.db`, `file:data.db?mode=ro&_pragma=cache_size(1000)` and `:memory:`. Throws on what can not be. */
export function parseSqliteAddress(connectionString: string): SqliteAddress {
  const bare = connectionString.replace(/^file:/, "");
  const at = bare.indexOf("?");
  const isUri = bare !== connectionString;
  const path = at < 0 ? bare : bare.slice(0, at);
  const query = new URLSearchParams(at < 0 ? "" : bare.slice(at + 1));
  const mode = query.get("mode") ?? "rwc";
  if (!["ro", "rw", "rwc", "memory"].includes(mode)) throw new Error(`unknown mode ${JSON.stringify(mode)}`);
  return {
    path: isUri ? decodeURIComponent(path) : path,
    isInMemory: path === ":memory:" || mode === "memory",
    isReadOnly: mode === "ro" || query.get("immutable") === "1",
    pragmas: query.getAll("_pragma").map(pragma),
  };
}

/** `name(value)` or `name=value`, both of plain words: the text becomes part of a statement. */
function pragma(text: string): string {
  const [, name = "", value = ""] = /^(\w+)(?:\((-?\w*)\)|=(-?\w*))?$/.exec(text.replace(/\s/g, "")) ?? [];
  if (name === "") throw new Error(`invalid _pragma ${JSON.stringify(text)} in the connection string`);
  const field = reserved[name.toLowerCase()];
  if (field)
    throw new Error(`_pragma ${name} is set by the metadata field ${field}, not in the connection string`);
  return value === "" ? `PRAGMA ${name}` : `PRAGMA ${name} = ${value}`;
}
