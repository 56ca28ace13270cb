import { isIPv4, isIPv6 } from "node:net";
import type { HttpRequest } from "../../net/http1/types.ts";
import { originList } from "./cors.ts";

export interface RequestGuardOptions {
  /** What is listened on. */
  addresses: readonly string[];
  /** The machine's own name. */
  machine: string;
  /** `--allowed-hosts`: names, `*.domain`, or `*` for all. */
  allowedHosts: readonly string[];
  /** `--allowed-origins`. */
  allowedOrigins: string;
}

/** Why a request is not served, if it is not. */
export type RequestGuard = (request: HttpRequest) => "host" | "origin" | undefined;

/**
 * Keeps web pages out of an API that asks for no token: a page may make its browser send requests to loopback, and by
 * rebinding its own name to a loopback address read the answers too. Browsers can forge neither Host nor Origin.
 */
export function createRequestGuard(options: RequestGuardOptions): RequestGuard {
  const isOurs = hostRule(options);
  const origins = originList(options.allowedOrigins);
  let lastHost: string | undefined;
  return (request) => {
    const host = request.header("host");
    // Clients name one host over and over.
    if (host === undefined || host !== lastHost) {
      if (host === undefined || !isOurs(host)) return "host";
      lastHost = host;
    }
    const origin = request.header("origin");
    const site = request.header("sec-fetch-site");
    if ((origin === undefined && site === undefined) || origins.isOpen) return undefined;
    const isListed = origin !== undefined && origins.has(origin);
    return isListed || isOwnPage(host, origin, site) ? undefined : "origin";
  };
}

/** Whether a person, or a page that came from this very host and port, is behind a browser's request. */
function isOwnPage(host: string, origin: string | undefined, site: string | undefined): boolean {
  if (site !== undefined && site !== "none" && site !== "same-origin") return false;
  if (origin === undefined) return true;
  const own = host.toLowerCase();
  const given = origin.toLowerCase();
  return given === `http://${own}` || given === `https://${own}`;
}

function hostRule({ addresses, machine, allowedHosts }: RequestGuardOptions): (host: string) => boolean {
  const names = new Set([
    "localhost",
    "127.0.0.1",
    "[::1]",
    machine.toLowerCase(),
    ...addresses.map(bracketed),
  ]);
  const suffixes = [".localhost"];
  for (const allowed of allowedHosts) {
    if (allowed.startsWith("*.")) suffixes.push(allowed.slice(1).toLowerCase());
    else names.add(allowed.toLowerCase());
  }
  for (const nowhere of ["", "0.0.0.0", "[::]"]) names.delete(nowhere);
  if (names.has("*")) return () => true;
  const isOpen = !addresses.every(isLoopback);
  return (host) => {
    const name = host.replace(/:\d*$/, "").toLowerCase();
    if (names.has(name) || suffixes.some((suffix) => name.endsWith(suffix) && name.length > suffix.length))
      return true;
    return isOpen && isAddressOrBareName(name);
  };
}

/**
 * What other machines call an API that is not on loopback alone: by an address of it, which behind NAT it does not know
 * itself, or by a name without a dot, as containers have. A stranger can let neither point here.
 */
function isAddressOrBareName(name: string): boolean {
  if (isIPv4(name)) return name !== "0.0.0.0";
  if (name.startsWith("[")) return isIPv6(name.slice(1, -1)) && !/^\[(?:[0:]+|::ffff:.*)\]$/.test(name);
  return /^[a-z_][a-z0-9_-]*$/.test(name);
}

function bracketed(address: string): string {
  return isIPv6(address) ? `[${address.toLowerCase()}]` : address.toLowerCase();
}

export function isLoopback(address: string): boolean {
  return address === "::1" || address === "localhost" || (isIPv4(address) && address.startsWith("127."));
}
