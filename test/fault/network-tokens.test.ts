// What asks an identity server: for its keys, or for a token.
import { generateKeyPairSync } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import type { ComponentHost } from "../../src/component/component.ts";
import type { HttpMiddleware } from "../../src/component/http-middleware.ts";
import jwks from "../../src/components/crypto/dapr.jwks.ts";
import bearer from "../../src/components/middleware/http.bearer.ts";
import login from "../../src/components/middleware/http.oauth2.ts";
import credentials from "../../src/components/middleware/http.oauth2clientcredentials.ts";
import type { HttpReply, HttpRequest } from "../../src/net/http1/types.ts";
import { componentHost, silentLog } from "../contract/component-host.ts";
import { hastyEdges } from "./hasty-clock.ts";
import { networkedCalls } from "./network-calls.ts";

const encoded = (text: string) => Buffer.from(text).toString("base64url");
const decoded = (text: string) => Buffer.from(text, "base64url").toString();
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

/** Its answers hold the text of the question. */
async function startIdentityServer() {
  const server = createServer(async (request, response) => {
    let form = "";
    for await (const piece of request) form += piece;
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answerOf(request, new URLSearchParams(form))));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function answerOf({ url = "", headers: { host } }: IncomingMessage, form: URLSearchParams): object {
  const [, kid = "", what = ""] = url.split(/\/(.*?)\//);
  const issuer = `http://${host}/${kid}`;
  if (what === "token") return { access_token: form.get("code") ?? form.get("scope"), expires_in: 3_600 };
  if (what === "keys") return { keys: [{ kid, alg: "ES256", ...publicKey.export({ format: "jwk" }) }] };
  return { issuer, jwks_uri: `${issuer}/keys` };
}

/** Each call is of a component just opened: what it has got once it does not ask for again. */
function networked(name: string, call: (base: string, text: string) => Promise<string>): void {
  networkedCalls({
    name,
    async start() {
      const { port, stop } = await startIdentityServer();
      const open = async (proxyPort: number) => ({
        call: (text: string) => call(`http://127.0.0.1:${proxyPort}`, text),
        close: async () => {},
      });
      return { port, open, stop };
    },
  });
}

/** The deadlines are 5 and 10 seconds; errors that are only logged are thrown. */
function hostThat(fails: (error: Error) => void): ComponentHost {
  const error = (fields: { error?: Error }): void => {
    if (fields.error !== undefined) fails(fields.error);
  };
  return componentHost({ edges: hastyEdges(2.5), log: { ...silentLog, error } as typeof silentLog });
}

async function answered(
  open: (host: ComponentHost) => Promise<HttpMiddleware>,
  use: (
    handle: (target: string, headers?: Record<string, string>) => Promise<HttpReply>,
  ) => Promise<HttpReply>,
): Promise<HttpReply> {
  let failure: Error | undefined;
  const host = hostThat((error) => {
    failure = error;
  });
  const middleware = await open(host);
  const next = ({ rawHeaders }: HttpRequest): HttpReply => ({ status: 200, headers: [...rawHeaders] });
  const reply = await use(async (target, headers = {}) =>
    middleware.handle(requestOf(target, headers), next),
  );
  await middleware.close();
  if (failure !== undefined) throw failure;
  return reply;
}

function requestOf(target: string, headers: Record<string, string>): HttpRequest {
  const rawHeaders = Object.entries(headers).flat();
  return {
    ...{ method: "GET", target, rawHeaders, header: (name: string) => headers[name] },
  } as unknown as HttpRequest;
}

function headerOf({ headers }: HttpReply, name: string): string {
  return String(headers[headers.findIndex((one) => one.toLowerCase() === name) + 1]);
}

networked("crypto.dapr.jwks", async (base, text) => {
  const options = {
    ...{ jwks: `${base}/${encoded(text)}/keys`, requestTimeout: 2_000, minRefreshInterval: 60_000 },
  };
  const provider = await jwks.open(options, componentHost());
  const { jwk } = await provider.getKey(encoded(text));
  await provider.close();
  return decoded(String(jwk.kid));
});

networked("middleware.http.bearer", async (base, text) => {
  const [issuer, audience] = [`${base}/${encoded(text)}`, "orders"];
  const token = await new SignJWT({ text })
    .setProtectedHeader({ alg: "ES256", kid: encoded(text) })
    .setIssuer(issuer)
    .setAudience(audience)
    .sign(privateKey);
  const { headers } = await answered(
    (host) => bearer.open({ issuer, audience, jwksURL: undefined }, host),
    (handle) => handle("/", { authorization: `Bearer ${token}` }),
  );
  const [, payload = ""] = headerOf({ status: 200, headers }, "authorization").split(".");
  return (JSON.parse(decoded(payload)) as { text: string }).text;
});

const client = { clientID: "mecha", clientSecret: "secret", pathFilter: undefined };

networked("middleware.http.oauth2clientcredentials", async (base, text) => {
  const metadata = { ...client, scopes: encoded(text), headerName: "x-token", endpointParamsQuery: "" };
  const reply = await answered(
    (host) => credentials.open({ ...metadata, tokenURL: `${base}/x/token`, authStyle: "0" }, host),
    (handle) => handle("/"),
  );
  return decoded(headerOf(reply, "x-token").replace("Bearer ", ""));
});

networked("middleware.http.oauth2", async (base, text) => {
  const metadata = {
    ...{ ...client, scopes: "", authURL: `${base}/auth`, tokenURL: `${base}/x/token`, forceHTTPS: false },
    ...{ redirectURL: "http://localhost/back", authHeaderName: "authorization", cookieName: "session" },
    cookieKey: undefined,
  };
  const reply = await answered(
    (host) => login.open(metadata, host),
    async (handle) => {
      const away = await handle("/x");
      const state = new URL(headerOf(away, "location")).searchParams.get("state");
      const [begun = ""] = headerOf(away, "set-cookie").split(";");
      const back = await handle(`/back?state=${state}&code=${encoded(text)}`, { cookie: begun });
      const [session = ""] = headerOf(back, "set-cookie").split(";");
      return handle("/x", { cookie: session });
    },
  );
  return decoded(headerOf(reply, "authorization").replace("Bearer ", ""));
});
