import { createHash, timingSafeEqual } from "node:crypto";
import { type ComponentHost, component } from "../../component/component.ts";
import { flag, type Options, text } from "../../component/fields.ts";
import type { HttpMiddleware } from "../../component/http-middleware.ts";
import { changedRequest, plainReply, withoutHeaders } from "../../net/http1/changed-request.ts";
import type { HttpHandler, HttpReply, HttpRequest } from "../../net/http1/types.ts";
import { requestToken } from "../clients/oauth2.ts";

/** How long somebody may take to log in, and how long a login lasts when the server does not say. */
const loginS = 10 * 60;
const sessionDefaultS = 60 * 60;
const stateBytes = 16;

const metadata = {
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
};

export default component({
  type: "middleware.http.oauth2",
  version: "v1",
  status: "alpha",
  summary: "Sends callers without a session to an OAuth 2.0 server (authorization code grant)",
  package: "jose",
  metadata,
  async open(options, host): Promise<HttpMiddleware> {
    return new Login(options, host, await import("jose"));
  },
});

/** A session is an encrypted cookie: first with what the server has to say again, then with the token it gave. */
class Login implements HttpMiddleware {
  readonly #options: Options<typeof metadata>;
  readonly #host: ComponentHost;
  readonly #jose: typeof import("jose");
  readonly #key: Uint8Array;
  readonly #callback: URL;
  readonly #filter: RegExp | undefined;
  readonly #replaced: ReadonlySet<string>;

  constructor(options: Options<typeof metadata>, host: ComponentHost, jose: typeof import("jose")) {
    const { cookieKey, clientSecret, redirectURL, forceHTTPS, pathFilter, authHeaderName } = options;
    this.#options = options;
    this.#host = host;
    this.#jose = jose;
    this.#key = createHash("sha256")
      .update(cookieKey ?? clientSecret)
      .digest();
    this.#callback = new URL(redirectURL);
    if (forceHTTPS) this.#callback.protocol = "https:";
    this.#filter = pathFilter === undefined ? undefined : new RegExp(pathFilter);
    this.#replaced = new Set([authHeaderName.toLowerCase(), "cookie"]);
  }

  async handle(request: HttpRequest, next: HttpHandler): Promise<HttpReply> {
    const [path = "", query = ""] = request.target.split(/\?(.*)/s);
    if (this.#filter !== undefined && !this.#filter.test(path)) return next(request);
    const session = await this.#session(request);
    if (typeof session?.token === "string") return next(this.#withToken(request, session.token));
    const asked = new URLSearchParams(query);
    const isBack = path === this.#callback.pathname && asked.has("state");
    return isBack && session !== undefined ? this.#logIn(asked, session) : this.#toLogin(request);
  }

  async close(): Promise<void> {}

  #withToken(request: HttpRequest, token: string): HttpRequest {
    const { authHeaderName, cookieName } = this.#options;
    const rawHeaders = withoutHeaders(request.rawHeaders, this.#replaced);
    const others = withoutCookie(request.header("cookie") ?? "", cookieName);
    if (others !== "") rawHeaders.push("Cookie", others);
    rawHeaders.push(authHeaderName, token);
    return changedRequest(request, { rawHeaders });
  }

  async #toLogin(request: HttpRequest): Promise<HttpReply> {
    const { authURL, clientID, scopes } = this.#options;
    const state = Buffer.from(this.#host.edges.random.bytes(stateBytes)).toString("base64url");
    const url = new URL(authURL);
    url.searchParams.set("response_type", "code");
    url.searchParams.set("client_id", clientID);
    url.searchParams.set("redirect_uri", this.#callback.href);
    if (scopes !== "") url.searchParams.set("scope", scopes.split(",").join(" "));
    url.searchParams.set("state", state);
    // Only pages can be come back to.
    const back = request.method === "GET" ? samePlace(request.target) : "/";
    return redirect(url.href, await this.#seal({ state, back }, loginS));
  }

  async #logIn(query: URLSearchParams, { state, back }: Record<string, unknown>): Promise<HttpReply> {
    if (typeof state !== "string" || !isSame(query.get("state") ?? "", state))
      return plainReply(400, "invalid state");
    const { clientID: clientId, clientSecret, tokenURL: tokenUrl } = this.#options;
    const form = new URLSearchParams({
      grant_type: "authorization_code",
      code: query.get("code") ?? "",
      redirect_uri: this.#callback.href,
    });
    try {
      const { clock } = this.#host.edges;
      const client = { clientId, clientSecret, tokenUrl, authStyle: "auto", clock } as const;
      const { header, expiresInS } = await requestToken(client, form);
      return redirect(String(back), await this.#seal({ token: header }, expiresInS ?? sessionDefaultS));
    } catch (error) {
      this.#host.log.error({ error }, "a login failed");
      return plainReply(500, "Internal Server Error");
    }
  }

  async #seal(claims: Record<string, string>, lifetimeS: number): Promise<string> {
    const nowS = Math.floor(this.#host.edges.clock.now() / 1000);
    const sealed = await new this.#jose.EncryptJWT(claims)
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
      .setExpirationTime(nowS + lifetimeS)
      .encrypt(this.#key);
    const secure = this.#callback.protocol === "https:" ? "; Secure" : "";
    return `${this.#options.cookieName}=${sealed}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${lifetimeS}${secure}`;
  }

  async #session(request: HttpRequest): Promise<Record<string, unknown> | undefined> {
    const sealed = cookieOf(request.header("cookie"), this.#options.cookieName);
    if (sealed === undefined) return undefined;
    const currentDate = new Date(this.#host.edges.clock.now());
    return this.#jose.jwtDecrypt(sealed, this.#key, { currentDate }).then(
      ({ payload }) => payload,
      () => undefined,
    );
  }
}

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
