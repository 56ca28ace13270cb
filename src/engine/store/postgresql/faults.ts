import { StoreUnavailable } from "../store.ts";

type Reason = StoreUnavailable["reason"];

/**
 * What a failed query means for its caller.
 * - `unreached`: it was never sent; - `lost`: its outcome is unknown; - `undone`: the server took it back, try again.
 */
export type FaultKind = "unreached" | "lost" | "undone" | "refused";

/** Of the client library and of sockets. */
const unreached = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOENT",
]);
const lost = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ECONNABORTED"]);

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const kinds: readonly [prefix: string, kind: FaultKind][] = [
  ["57P03", "unreached"], // cannot connect now: it starts or recovers
  ["53300", "unreached"], // too many connections
  ["57P01", "lost"], // terminated by the administrator
  ["57P02", "lost"], // another server process crashed
  ["57P05", "lost"],
  ["08", "lost"],
  ["40001", "undone"],
  ["40P01", "undone"],
  ["25006", "undone"], // read-only: a standby that is about to be promoted
];

const reasons: readonly [prefix: string, reason: Reason, message: string][] = [
  ["53100", "full", "the disk of the PostgreSQL server is full; free some space"],
  ["53", "overloaded", "the PostgreSQL server has too little memory or too many connections"],
  ["55P03", "busy", "other processes hold what the store needs for too long"],
  ["57014", "busy", "the PostgreSQL server took too long"],
  ["58", "io", "the PostgreSQL server failed to read or write"],
  ["XX001", "corrupt", "the store's tables are damaged"],
  ["XX002", "corrupt", "the store's tables are damaged"],
  ["25006", "busy", "the PostgreSQL server is read-only: a standby?"],
  ["40", "busy", "the PostgreSQL server took the transaction back"],
];

/** A query did not answer in time: the connection is given up. */
export class QueryTimeout extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs} ms`);
    this.name = "QueryTimeout";
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

export function kindOf(error: unknown): FaultKind {
  if (error instanceof QueryTimeout) return "lost";
  const code = codeOf(error);
  if (unreached.has(code) || code === "CONNECT_TIMEOUT") return "unreached";
  if (lost.has(code) || code.startsWith("CONNECTION_")) return "lost";
  return kinds.find(([prefix]) => code.startsWith(prefix))?.[1] ?? "refused";
}

/** What the caller gets when trying again did not help; `undefined`: it is the query's own fault. */
export function toStoreUnavailable(error: unknown, isWrite: boolean): StoreUnavailable | undefined {
  if (error instanceof StoreUnavailable) return error;
  const detail = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  switch (kindOf(error)) {
    case "unreached":
      return new StoreUnavailable("busy", `the PostgreSQL server cannot be reached (${detail})`, options);
    case "lost":
      return new StoreUnavailable(
        isWrite ? "crashed" : "busy",
        `the connection to the PostgreSQL server was lost (${detail})`,
        options,
      );
    default: {
      const code = codeOf(error);
      const found = reasons.find(([prefix]) => code.startsWith(prefix));
      return found && new StoreUnavailable(found[1], `${found[2]} (${detail})`, options);
    }
  }
}
