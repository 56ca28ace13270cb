import { createHash, timingSafeEqual } from "node:crypto";
import { component } from "../../component/component.ts";
import { flag, text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { changedRequest, plainReply, withoutHeaders } from "../../net/http1/changed-request.ts";
import type { HttpReply, HttpRequest } from "../../net/http1/types.ts";
import { requestToken } from "../clients/oauth2.ts";

/** How long somebody may take to log in, and how long a login lasts when the server does not say. */
const loginS = 10 * 60;
const sessionDefaultS = 60 * 60;
const stateBytes = 16;

export default component({
  type: "middleware.http.oauth2",
  version: "v1",
  status: "alpha",
  summary: "Sends callers without a session to an OAuth 2.0 server (authorization code grant)",
  package: "jose",
  metadata: {
    clientID: text({ description: "the client's name", required: true }),
    clientSecret: text({ description: "its secret", required: true, sensitive: true }),
    scopes: text({ description: "scopes, with commas between", default: "" }),
    authURL: text({ description: "where people log in", required: true }),
    tokenURL: text({ description: "the token endpoint", required: true }),
    redirectURL: text({
      description: "where the server sends people back to: a path of this API",
      required: true,
    }),
    authHeaderName: text({ description: "the header that gets the token", default: "authorization" }),
    forceHTTPS: flag({
      description: "https for the address people come back to, and for the cookies",
      default: false,
    }),
    pathFilter: text({ description: "regular expression; other paths need no session" }),
    cookieName: text({ description: "the cookie of a session", default: "_dapr_oauth2" }),
    cookieKey: text({
      description:
        "what sessions are encrypted with, when several runtimes share them; by default the client's secret",
      sensitive: true,
    }),
  },
  async open(options, { edges, log }): Promise<HttpMiddleware> {
    const { clientID: clientId, clientSecret, tokenURL: tokenUrl, cookieName, forceHTTPS } = options;
    const { EncryptJWT, jwtDecrypt } = await import("jose");
    const key = createHash("sha256")
      .update(options.cookieKey ?? clientSecret)
      .digest();
    const filter = options.pathFilter === undefined ? undefined : new RegExp(options.pathFilter);
    const callback = new URL(options.redirectURL);
    if (forceHTTPS) callback.protocol = "https:";
    const replaced = new Set([options.authHeaderName.toLowerCase(), "cookie"]);

    async function seal(claims: Record<string, string>, lifetimeS: number): Promise<string> {
      const nowS = Math.floor(edges.clock.now() / 1000);
      const sealed = await new EncryptJWT(claims)
        .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
        .setExpirationTime(nowS + lifetimeS)
        .encrypt(key);
      const secure = callback.protocol === "https:" ? "; Secure" : "";
      return `${cookieName}=${sealed}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${lifetimeS}${secure}`;
    }

    async function session(request: HttpRequest): Promise<Record<string, unknown> | undefined> {
      const sealed = cookieOf(request.header("cookie"), cookieName);
      if (sealed === undefined) return undefined;
      const currentDate = new Date(edges.clock.now());
      return jwtDecrypt(sealed, key, { currentDate }).then(
        ({ payload }) => payload,
        () => undefined,
      );
    }

    async function toLogin(request: HttpRequest): Promise<HttpReply> {
      const state = Buffer.from(edges.random.bytes(stateBytes)).toString("base64url");
      const url = new URL(options.authURL);
      url.searchParams.set("response_type", "code");
      url.searchParams.set("client_id", clientId);
      url.searchParams.set("redirect_uri", callback.href);
      if (options.scopes !== "") url.searchParams.set("scope", options.scopes.split(",").join(" "));
      url.searchParams.set("state", state);
      // Only pages can be come back to.
      const back = request.method === "GET" ? samePlace(request.target) : "/";
      return redirect(url.href, await seal({ state, back }, loginS));
    }

    async function logIn(query: URLSearchParams, known: Record<string, unknown>): Promise<HttpReply> {
      const { state, back } = known;
      if (typeof state !== "string" || !isSame(query.get("state") ?? "", state))
        return plainReply(400, "invalid state");
      const form = new URLSearchParams({
        grant_type: "authorization_code",
        code: query.get("code") ?? "",
        redirect_uri: callback.href,
      });
      try {
        const client = { clientId, clientSecret, tokenUrl, authStyle: "auto" as const };
        const { header, expiresInS } = await requestToken(client, form);
        return redirect(String(back), await seal({ token: header }, expiresInS ?? sessionDefaultS));
      } catch (error) {
        log.error({ error }, "a login failed");
        return plainReply(500, "Internal Server Error");
      }
    }

    return {
      async handle(request, next) {
        const [path = "", query = ""] = request.target.split(/\?(.*)/s);
        if (filter !== undefined && !filter.test(path)) return next(request);
        const known = await session(request);
        if (typeof known?.token === "string") {
          const rawHeaders = withoutHeaders(request.rawHeaders, replaced);
          const others = withoutCookie(request.header("cookie") ?? "", cookieName);
          if (others !== "") rawHeaders.push("Cookie", others);
          rawHeaders.push(options.authHeaderName, known.token);
          return next(changedRequest(request, { rawHeaders }));
        }
        const asked = new URLSearchParams(query);
        const isBack = path === callback.pathname && asked.has("state");
        return isBack && known !== undefined ? logIn(asked, known) : toLogin(request);
      },
      async close() {},
    };
  },
});

function redirect(location: string, cookie: string): HttpReply {
  const headers = ["Location", location, "Set-Cookie", cookie, "Cache-Control", "no-store"];
  return { status: 302, headers };
}

/** A path of this host: two slashes, or one that leans back, would lead to another one. */
function samePlace(target: string): string {
  return target.startsWith("/") ? target.replace(/^[/\\]+/, "/") : "/";
}

function cookieOf(line: string | undefined, name: string): string | undefined {
  const found = cookies(line).find((cookie) => cookie.startsWith(`${name}=`));
  return found?.slice(name.length + 1);
}

/** The session is between the caller and this runtime. */
function withoutCookie(line: string, name: string): string {
  return cookies(line)
    .filter((cookie) => !cookie.startsWith(`${name}=`))
    .join("; ");
}

function cookies(line = ""): string[] {
  return line.split(/[;,]/).flatMap((cookie) => cookie.trim() || []);
}

function isSame(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)];
  return one.length === other.length && timingSafeEqual(one, other);
}
