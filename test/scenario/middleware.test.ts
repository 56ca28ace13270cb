import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { freePort } from "../mecha-process.ts";
import { type Service, startService } from "../services.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Middleware {
  name: string;
  type: string;
  metadata?: Record<string, string>;
}

function component({ name, type, metadata = {} }: Middleware): string {
  const items = Object.entries(metadata).map(([key, value]) => ({ name: key, value }));
  const spec = { type, version: "v1", metadata: items };
  return JSON.stringify({ apiVersion: "dapr.io/v1alpha1", kind: "Component", metadata: { name }, spec });
}

function configOf(pipelines: Record<string, Middleware[]>, file = join(folder(), "config.yaml")): string {
  const spec = Object.fromEntries(
    Object.entries(pipelines).map(([name, all]) => [
      name,
      { handlers: all.map(({ name, type }) => ({ name, type })) },
    ]),
  );
  writeFileSync(
    file,
    JSON.stringify({ apiVersion: "dapr.io/v1alpha1", kind: "Configuration", metadata: { name: "c" }, spec }),
  );
  return file;
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "mecha-middleware-"));
  closers.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** One app that says what it was asked, with these pipelines. */
async function start(
  pipelines: Record<string, Middleware[]>,
  { httpPort = 0, config = configOf(pipelines) } = {},
): Promise<{ mecha: TestMecha; app: FakeApp }> {
  const app = await fakeApp({
    otherwise: ({ method, target, text }) => ({ body: `${method} ${target} ${text}` }),
  });
  closers.push(() => app.close());
  const resources = Object.values(pipelines).flat().map(component).join("\n---\n");
  const options = { configPaths: [config], httpPort };
  const mecha = await startMecha({ apps: [{ appId: "orders", app, options }], resources });
  closers.push(() => mecha.stop());
  return { mecha, app };
}

const uppercase = { name: "shout", type: "middleware.http.uppercase" };
const path = "/v1.0/invoke/orders/method/x";

describe("a pipeline", () => {
  test("of the API changes what comes in over HTTP", async () => {
    const { mecha } = await start({ httpPipeline: [uppercase] });
    const answer = await mecha.http("orders", `POST ${path}`, { body: "größe ✓" });
    expect(answer.text).toBe("POST /x GRÖSSE ✓");
    await mecha.http("orders", "POST /v1.0/state/statestore", { body: '[{"KEY":"a","VALUE":"b"}]' });
    expect((await mecha.http("orders", "GET /v1.0/state/statestore/A")).text).toBe('"B"');
  });

  test("of the app changes what goes to the app, and nothing else", async () => {
    const { mecha } = await start({ appHttpPipeline: [uppercase] });
    expect((await mecha.http("orders", `POST ${path}`, { body: "hello" })).text).toBe("POST /x HELLO");
    await mecha.http("orders", "POST /v1.0/state/statestore", { body: '[{"key":"a","value":"b"}]' });
    expect((await mecha.http("orders", "GET /v1.0/state/statestore/a")).text).toBe('"b"');
  });

  test("runs in the order of its handlers", async () => {
    const check = {
      name: "check",
      type: "middleware.http.routerchecker",
      metadata: { rule: "^/v1\\.0/invoke/orders/method/x\\?id=7$" },
    };
    const alias = {
      name: "alias",
      type: "middleware.http.routeralias",
      metadata: { routes: JSON.stringify({ "/buy/{id}": path }) },
    };
    const { mecha } = await start({ httpPipeline: [alias, check] });
    expect((await mecha.http("orders", "GET /buy/7")).text).toBe("GET /x?id=7 ");
    const config = configOf({ httpPipeline: [check, alias] });
    const other = await start({ httpPipeline: [check, alias] }, { config });
    const refused = await other.mecha.http("orders", "GET /buy/7");
    expect([refused.status, refused.text]).toEqual([400, "invalid router"]);
  });

  test("follows its Configuration, and lets nothing pass without a middleware that is named", async () => {
    const config = configOf({ httpPipeline: [] });
    const { mecha } = await start({ httpPipeline: [uppercase] }, { config });
    const text = async () => (await mecha.http("orders", `POST ${path}`, { body: "a" })).text;
    expect(await text()).toBe("POST /x a");
    configOf({ httpPipeline: [uppercase] }, config);
    await until(async () => (await text()) === "POST /x A", "the pipeline");
    configOf({ httpPipeline: [{ name: "gone", type: "middleware.http.uppercase" }] }, config);
    await until(async () => (await text()) === "a middleware of the pipeline is not loaded", "the refusal");
  });

  test("that names what is not there is a fatal start error", async () => {
    const config = configOf({ httpPipeline: [{ name: "gone", type: "middleware.http.uppercase" }] });
    await expect(start({}, { config })).rejects.toThrow(
      "couldn't find middleware component with name gone and type middleware.http.uppercase/v1",
    );
  });
});

describe("middleware.http.routeralias", () => {
  test.each([
    ["/plain", "GET /x "],
    ["/plain?a=1&b=%26", "GET /x?a=1&b=%26 "],
    ["/users/a%2Fb/orders/7?q=1", "GET /x?q=1&user=a%2Fb&order=7 "],
    ["/users/ann/orders/abc", "404"],
  ])("takes %p for %p", async (target, expected) => {
    const fields = { "/plain": path, "/users/{user}/orders/{order:[0-9]+}": path };
    const alias = { name: "alias", type: "middleware.http.routeralias", metadata: fields };
    const { mecha } = await start({ httpPipeline: [alias] });
    const answer = await mecha.http("orders", `GET ${target}`);
    expect(expected === "404" ? String(answer.status) : answer.text).toBe(expected);
  });
});

describe("middleware.http.ratelimit", () => {
  test("lets as many requests of an address pass at once as it may have in a second", async () => {
    const limit = {
      name: "limit",
      type: "middleware.http.ratelimit",
      metadata: { maxRequestsPerSecond: "0.01" },
    };
    const { mecha } = await start({ httpPipeline: [limit] });
    expect((await mecha.http("orders", `GET ${path}`)).status).toBe(200);
    const refused = await mecha.http("orders", `GET ${path}`);
    expect(refused.status).toBe(429);
    expect(refused.text).toBe("You have reached maximum request limit.");
    expect(refused.header("retry-after")).toBe("100");
  });

  test("refuses a limit that is none", async () => {
    const limit = {
      name: "limit",
      type: "middleware.http.ratelimit",
      metadata: { maxRequestsPerSecond: "0" },
    };
    await expect(start({ httpPipeline: [limit] })).rejects.toThrow("maxRequestsPerSecond");
  });
});

describe("with an OpenID Connect provider", () => {
  let provider: Service;
  let issuer: string;
  let httpPort: number;

  beforeAll(async () => {
    httpPort = await freePort();
    const redirect = `http://127.0.0.1:${httpPort}/login/done`;
    provider = await startService("oidc-provider", { options: { redirect } });
    issuer = String(provider.details.issuer);
  }, 120_000);
  afterAll(() => provider?.stop());

  const client = { clientID: "mecha", clientSecret: "secret" };

  async function token(): Promise<string> {
    const form = new URLSearchParams({ grant_type: "client_credentials", scope: "read" });
    const headers = { Authorization: `Basic ${btoa("mecha:secret")}` };
    const reply = await fetch(`${issuer}/token`, { method: "POST", body: form, headers });
    return ((await reply.json()) as { access_token: string }).access_token;
  }

  const bearer = (audience: string) => ({
    name: "bearer",
    type: "middleware.http.bearer",
    metadata: { issuer, audience },
  });

  test("bearer lets in who shows a token of the issuer", async () => {
    const { mecha } = await start({ httpPipeline: [bearer("orders")] });
    const status = async (authorization?: string) => {
      const headers: Record<string, string> =
        authorization === undefined ? {} : { Authorization: authorization };
      return (await mecha.http("orders", `GET ${path}`, { headers })).status;
    };
    const good = await token();
    expect(await status(`Bearer ${good}`)).toBe(200);
    expect(await status(`bearer ${good}`)).toBe(200);
    expect(await status()).toBe(401);
    expect(await status("Bearer x")).toBe(401);
    const [head, body, signature = ""] = good.split(".");
    const forged = `${signature[0] === "A" ? "B" : "A"}${signature.slice(1)}`;
    expect(await status(`Bearer ${head}.${body}.${forged}`)).toBe(401);
    const unsigned = `${btoa('{"alg":"none"}').replaceAll("=", "")}.${body}.`;
    expect(await status(`Bearer ${unsigned}`)).toBe(401);
  });

  test("bearer refuses tokens that are for somebody else", async () => {
    const { mecha } = await start({ httpPipeline: [bearer("somebody")] });
    const headers = { Authorization: `Bearer ${await token()}` };
    expect((await mecha.http("orders", `GET ${path}`, { headers })).status).toBe(401);
  });

  test("bearer without its issuer is a start error that names the address", async () => {
    const other = { ...bearer("orders"), metadata: { issuer: `${issuer}/other`, audience: "orders" } };
    await expect(start({ httpPipeline: [other] })).rejects.toThrow(
      `${issuer}/other/.well-known/openid-configuration`,
    );
  });

  test("client credentials put a token into the header", async () => {
    const credentials = {
      name: "credentials",
      type: "middleware.http.oauth2clientcredentials",
      metadata: { ...client, scopes: "read", tokenURL: `${issuer}/token`, headerName: "x-token" },
    };
    const { mecha, app } = await start({ appHttpPipeline: [credentials] });
    const headers = { "X-Token": "of the caller" };
    for (let i = 0; i < 3; i++) await mecha.http("orders", `GET ${path}`, { headers });
    const sent = app.requests.map((request) => request.header("x-token"));
    expect(new Set(sent).size).toBe(1);
    const [, payload = ""] = sent[0]?.replace("Bearer ", "").split(".") ?? [];
    expect(JSON.parse(atob(payload))).toMatchObject({ client_id: "mecha", aud: "orders" });
  });

  test("client credentials that are wrong let no request pass", async () => {
    const credentials = {
      name: "credentials",
      type: "middleware.http.oauth2clientcredentials",
      metadata: {
        ...{ clientID: "mecha", clientSecret: "wrong-secret", scopes: "read" },
        ...{ tokenURL: `${issuer}/token`, headerName: "x-token" },
      },
    };
    const { mecha, app } = await start({ appHttpPipeline: [credentials] });
    expect((await mecha.http("orders", `GET ${path}`)).status).toBe(500);
    expect(app.requests).toEqual([]);
    expect(mecha.log()).not.toContain("wrong-secret");
  });

  test("the authorization code grant sends a person to the provider and back", async () => {
    const login = {
      name: "login",
      type: "middleware.http.oauth2",
      metadata: {
        ...{ ...client, scopes: "openid,read", authURL: `${issuer}/auth`, tokenURL: `${issuer}/token` },
        ...{ redirectURL: `http://127.0.0.1:${httpPort}/login/done`, pathFilter: "^/v1.0/invoke|^/login" },
      },
    };
    const { app } = await start({ httpPipeline: [login] }, { httpPort });
    const person = new Browser();
    const wanted = `http://127.0.0.1:${httpPort}${path}?color=red`;
    expect(await person.get(wanted)).toContain("Sign-in");
    expect(await person.submit({ login: "ann", password: "x" })).toContain("Authorize");
    expect(await person.submit({})).toBe("GET /x?color=red ");
    expect(person.at).toBe(wanted);
    expect(app.requests).toHaveLength(1);
    expect(app.requests[0]?.header("authorization")).toStartWith("Bearer ");
    expect(app.requests[0]?.header("cookie") ?? "").not.toContain("_dapr_oauth2");
    const open = await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz`, { redirect: "manual" });
    expect(open.status).toBe(204);
  });

  test("an answer of the provider that nobody asked for is refused", async () => {
    const metadata = {
      ...{ ...client, scopes: "openid", authURL: `${issuer}/auth`, tokenURL: `${issuer}/token` },
      redirectURL: `http://127.0.0.1:${httpPort}/login/done`,
    };
    const { app } = await start(
      { httpPipeline: [{ name: "login", type: "middleware.http.oauth2", metadata }] },
      { httpPort },
    );
    const base = `http://127.0.0.1:${httpPort}`;
    const first = await fetch(`${base}//evil.example/x`, { redirect: "manual" });
    const cookie = (first.headers.get("set-cookie") ?? "").split(";", 1)[0] ?? "";
    const state = new URL(first.headers.get("location") ?? "").searchParams.get("state") ?? "";
    expect(state.length).toBeGreaterThan(20);
    const answer = (query: string, headers: Record<string, string>) =>
      fetch(`${base}/login/done?${query}`, { redirect: "manual", headers });
    expect((await answer("code=x&state=other", { Cookie: cookie })).status).toBe(400);
    expect((await answer(`code=wrong&state=${state}`, { Cookie: cookie })).status).toBe(500);
    expect((await answer(`code=x&state=${state}`, {})).headers.get("location")).toStartWith(`${issuer}/auth`);
    expect(app.requests).toEqual([]);
  });
});

/** Follows redirects by hand, keeps cookies, and fills in the one form of a page. */
class Browser {
  at = "";
  #page = "";
  readonly #jar = new Map<string, string>();

  get(url: string): Promise<string> {
    return this.#go(url, "GET");
  }

  submit(fields: Record<string, string>): Promise<string> {
    const [, action = ""] = /<form[^>]* action="([^"]*)"/.exec(this.#page) ?? [];
    const hidden = this.#page.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g);
    const form = new URLSearchParams({
      ...Object.fromEntries([...hidden].map(([, name = "", value = ""]) => [name, value])),
      ...fields,
    });
    return this.#go(new URL(action, this.at).href, "POST", form.toString());
  }

  async #go(url: string, method: string, body?: string): Promise<string> {
    const headers: Record<string, string> = {
      Cookie: [...this.#jar].map(([name, value]) => `${name}=${value}`).join("; "),
    };
    if (body !== undefined) headers["Content-Type"] = "application/x-www-form-urlencoded";
    const reply = await fetch(url, { method, headers, redirect: "manual", body: body ?? null });
    for (const line of reply.headers.getSetCookie()) {
      const [name = "", value = ""] = (line.split(";", 1)[0] ?? "").split(/=(.*)/s);
      if (value === "") this.#jar.delete(name);
      else this.#jar.set(name, value);
    }
    const location = reply.headers.get("location");
    if (location !== null && reply.status < 400) return this.#go(new URL(location, url).href, "GET");
    this.at = url;
    this.#page = await reply.text();
    return this.#page;
  }
}
