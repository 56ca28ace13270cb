/** What a copy reads from one home and writes into another: rows of the tables that both have. */
export type Cell = string | number | null | Uint8Array;

export interface CopiedTable {
  name: string;
  columns: readonly string[];
  /** Rows are read in this order, a page at a time. */
  key: readonly string[];
}

/** SQLite's names; `seq` is called `offset` there. */
export const copiedTables: readonly CopiedTable[] = [
  {
    name: "keys",
    columns: ["space", "key", "etag", "expires_at", "content_type", "value"],
    key: ["space", "key"],
  },
  { name: "topics", columns: ["id", "name", "appended", "messages", "bytes", "dropped"], key: ["id"] },
  {
    name: "messages",
    columns: ["topic", "seq", "published_at", "not_before", "expires_at", "order_key", "headers", "data"],
    key: ["topic", "seq"],
  },
  { name: "consumers", columns: ["id", "topic", "name", "cursor", "passed"], key: ["id"] },
  {
    name: "claims",
    columns: ["consumer", "seq", "claim", "attempt", "visible_at", "order_key", "owner"],
    key: ["consumer", "seq"],
  },
  {
    name: "timers",
    columns: ["space", "id", "due_at", "visible_at", "claim", "owner", "data"],
    key: ["space", "id"],
  },
  { name: "history", columns: ["instance", "position", "event"], key: ["instance", "position"] },
  { name: "leases", columns: ["name", "owner", "token", "expires_at"], key: ["name"] },
];

export interface CopySource {
  /** Processes that announced themselves and have not ended. */
  livePeers(): Promise<number>;
  /** The rows after the one whose key is given, all of one moment. */
  page(table: CopiedTable, after: readonly Cell[] | undefined): Promise<Cell[][]>;
  /** The last number given: etags, offsets and tokens of the copy go on from there. */
  revision(): Promise<number>;
  close(): Promise<void>;
}

export interface CopyTarget {
  isEmpty(): Promise<boolean>;
  insert(table: CopiedTable, rows: readonly Cell[][]): Promise<void>;
  /** Makes all of it visible at once. */
  commit(revision: number): Promise<void>;
  /** Undoes what was not committed. */
  close(): Promise<void>;
}

/** Values may be large: a page must fit in memory twice. */
export const pageRows = 100;
