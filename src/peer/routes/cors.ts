import { withoutHeaders } from "../../net/http1/changed-request.ts";
import type { HttpReply, HttpRequest, RawHeaders } from "../../net/http1/types.ts";
import type { CorsFilter } from "../../resource/route.ts";

type Asking = Pick<HttpRequest, "method" | "header">;

/** The browser's question before the request itself; `undefined`: it is none. */
export function askedMethod(request: Asking): string | undefined {
  if (request.method !== "OPTIONS" || request.header("origin") === undefined) return undefined;
  return request.header("access-control-request-method");
}

/** The answer to a preflight request: no app is asked. */
export function preflightReply(cors: CorsFilter, request: Asking): HttpReply {
  const origin = allowedOrigin(cors, request.header("origin"));
  const vary = ["Vary", "Origin"];
  if (origin === undefined) return { status: 204, headers: vary };
  const { allowMethods, allowHeaders, allowCredentials } = cors;
  const headers = [...originLines(cors, origin), ...vary];
  const methods = listed(allowMethods, request.header("access-control-request-method"), allowCredentials);
  const names = listed(allowHeaders, request.header("access-control-request-headers"), allowCredentials);
  if (methods !== "") headers.push("Access-Control-Allow-Methods", methods);
  if (names !== "") headers.push("Access-Control-Allow-Headers", names);
  headers.push("Access-Control-Max-Age", String(cors.maxAgeSeconds));
  return { status: 204, headers };
}

/** The lines of an answer to a page of another origin; what the app said of it itself gives way. */
export function withCors(cors: CorsFilter, request: Asking, headers: RawHeaders): RawHeaders {
  const origin = allowedOrigin(cors, request.header("origin"));
  if (origin === undefined) return [...headers, "Vary", "Origin"];
  const kept = withoutHeaders(headers, ownLines);
  kept.push(...originLines(cors, origin));
  const exposed = listed(cors.exposeHeaders, undefined, cors.allowCredentials);
  if (exposed !== "") kept.push("Access-Control-Expose-Headers", exposed);
  kept.push("Vary", "Origin");
  return kept;
}

const ownLines = new Set([
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-expose-headers",
]);

function originLines({ allowCredentials, allowOrigins }: CorsFilter, origin: string): RawHeaders {
  if (allowCredentials) {
    return ["Access-Control-Allow-Origin", origin, "Access-Control-Allow-Credentials", "true"];
  }
  return ["Access-Control-Allow-Origin", allowOrigins.includes("*") ? "*" : origin];
}

function allowedOrigin({ allowOrigins }: CorsFilter, origin: string | undefined): string | undefined {
  if (origin === undefined) return undefined;
  return allowOrigins.some((pattern) => isOrigin(pattern, origin)) ? origin : undefined;
}

/** `https://*.example.com` stands for every host below it. */
function isOrigin(pattern: string, origin: string): boolean {
  if (pattern === "*") return true;
  const wanted = pattern.toLowerCase();
  const got = origin.toLowerCase();
  const star = wanted.indexOf("*");
  if (star < 0) return wanted === got;
  const [before, after] = [wanted.slice(0, star), wanted.slice(star + 1)];
  if (got.length <= before.length + after.length || !got.startsWith(before) || !got.endsWith(after))
    return false;
  return /^[a-z0-9.-]+$/.test(got.slice(before.length, got.length - after.length));
}

/** With credentials browsers take a star for a name: what was asked for is said instead. */
function listed(values: readonly string[], asked: string | undefined, hasCredentials: boolean): string {
  if (!values.includes("*")) return values.join(", ");
  return hasCredentials && asked !== undefined ? asked : "*";
}
