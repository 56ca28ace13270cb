import type { SessionPersistence } from "../../resource/route.ts";

/** Which backend and instance a client stays with. */
export interface Session {
  /** The backend's name in the rule. */
  backend: string;
  /** Empty: an app of the same process. */
  instanceId: string;
  sinceMs: number;
}

const tokenCharsMax = 1024;

/** The session a request belongs to; `undefined`: none, or it is over. */
export function sessionOf(
  persistence: SessionPersistence,
  header: (lowerName: string) => string | undefined,
  nowMs: number,
): Session | undefined {
  const { type, sessionName, absoluteTimeoutMs } = persistence;
  const token = type === "Cookie" ? cookie(header("cookie"), sessionName) : header(sessionName.toLowerCase());
  if (token === undefined || token.length > tokenCharsMax) return undefined;
  const [backend, instanceId, since] = Buffer.from(token, "base64url").toString("utf8").split("\n");
  const sinceMs = Number(since);
  if (!backend || instanceId === undefined || !Number.isFinite(sinceMs)) return undefined;
  const isOver = absoluteTimeoutMs > 0 && nowMs - sinceMs > absoluteTimeoutMs;
  return isOver ? undefined : { backend, instanceId, sinceMs };
}

/** The header line by which the client hears of its session. */
export function sessionLine(
  persistence: SessionPersistence,
  session: Session,
): [name: string, value: string] {
  const { type, sessionName, absoluteTimeoutMs, isPermanent } = persistence;
  const { backend, instanceId, sinceMs } = session;
  const token = Buffer.from(`${backend}\n${instanceId}\n${sinceMs}`).toString("base64url");
  if (type === "Header") return [sessionName, token];
  const age = isPermanent ? `; Max-Age=${Math.ceil(absoluteTimeoutMs / 1000)}` : "";
  return ["Set-Cookie", `${sessionName}=${token}; Path=/; HttpOnly; SameSite=Lax${age}`];
}

function cookie(line: string | undefined, name: string): string | undefined {
  for (const part of line?.split(/[;,]/) ?? []) {
    const at = part.indexOf("=");
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim();
  }
  return undefined;
}
