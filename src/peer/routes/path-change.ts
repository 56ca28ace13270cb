import type { PathChange, RedirectFilter } from "../../resource/route.ts";

/** The path after a change; `prefix` is what the match took, without a slash at its end. */
export function changePath(path: string, change: PathChange | undefined, prefix: string): string {
  if (change === undefined) return path;
  if (change.type === "ReplaceFullPath")
    return change.value.startsWith("/") ? change.value : `/${change.value}`;
  const rest = path.slice(prefix.length);
  const value = change.value.replace(/\/+$/, "");
  const joined = value + (rest === "" || rest.startsWith("/") ? rest : `/${rest}`);
  if (joined === "") return "/";
  return joined.startsWith("/") ? joined : `/${joined}`;
}

/** Where a request came in. */
export interface Origin {
  scheme: "http" | "https";
  /** Without the port. */
  hostname: string;
  /** 0: not known. */
  port: number;
}

const usualPorts: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** The target of a redirect. A usual port is left out; a new scheme brings its own port. */
export function locationOf(
  filter: RedirectFilter,
  origin: Origin,
  { path, query, prefix }: { path: string; query: string; prefix: string },
): string {
  const scheme = filter.scheme || origin.scheme;
  const hostname = filter.hostname || origin.hostname;
  const port = filter.port || (filter.scheme !== "" ? usualPorts[scheme] : origin.port) || 0;
  const shownPort = port === 0 || port === usualPorts[scheme] ? "" : `:${port}`;
  const search = query === "" ? "" : `?${query}`;
  return `${scheme}://${hostname}${shownPort}${changePath(path, filter.path, prefix)}${search}`;
}

/** Of a Host header. */
export function hostParts(host: string): { hostname: string; port: number } {
  const found = /^(.*?)(?::(\d+))?$/.exec(host);
  return { hostname: (found?.[1] ?? "").toLowerCase(), port: Number(found?.[2] ?? 0) };
}
