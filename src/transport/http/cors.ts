import type { HttpReply, HttpRequest, RawHeaders } from "../../net/http1/types.ts";

const allowedVerbs = new Set(["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"]);

export interface Cors {
  /** The answer to a preflight; `undefined` when the request is none. */
  preflight(request: HttpRequest): HttpReply | undefined;
  /** The reply with the headers that let the page read it. */
  allow(request: HttpRequest, reply: HttpReply): HttpReply;
}

/** Cross-origin rules of `--allowed-origins`: empty means no headers at all, `*` everybody, else a list. */
export function createCors(allowedOrigins: string): Cors | undefined {
  const { isOpen, isEmpty, has: isAllowed } = originList(allowedOrigins);
  if (isEmpty) return undefined;
  return {
    preflight(request) {
      const verb = request.header("access-control-request-method");
      if (request.method !== "OPTIONS" || verb === undefined) return undefined;
      const headers = [
        "Vary",
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
      ] as RawHeaders;
      const origin = request.header("origin");
      if (origin !== undefined && isAllowed(origin) && allowedVerbs.has(verb)) {
        headers.push(
          "Access-Control-Allow-Origin",
          isOpen ? "*" : origin,
          "Access-Control-Allow-Methods",
          verb,
        );
        const asked = request.header("access-control-request-headers");
        if (asked) headers.push("Access-Control-Allow-Headers", asked);
      }
      return { status: 204, headers };
    },
    allow(request, reply) {
      const headers = [...reply.headers, "Vary", "Origin"];
      const origin = request.header("origin");
      if (origin !== undefined && isAllowed(origin)) {
        headers.push("Access-Control-Allow-Origin", isOpen ? "*" : origin);
      }
      return { ...reply, headers };
    },
  };
}

export interface OriginList {
  readonly isEmpty: boolean;
  /** Everybody is in it. */
  readonly isOpen: boolean;
  has(origin: string): boolean;
}

export function originList(allowedOrigins: string): OriginList {
  const origins = allowedOrigins.split(",").flatMap((origin) => origin.trim() || []);
  const isOpen = origins.includes("*");
  const has = (origin: string) => isOpen || origins.some((allowed) => matchesOrigin(allowed, origin));
  return { isEmpty: origins.length === 0, isOpen, has };
}

/** An allowed origin may hold one `*`. */
function matchesOrigin(allowed: string, origin: string): boolean {
  const given = origin.toLowerCase();
  const pattern = allowed.toLowerCase();
  const star = pattern.indexOf("*");
  if (star < 0) return pattern === given;
  const before = pattern.slice(0, star);
  const behind = pattern.slice(star + 1);
  return given.length >= before.length + behind.length && given.startsWith(before) && given.endsWith(behind);
}
