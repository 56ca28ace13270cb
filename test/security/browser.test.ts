// Web pages against the loopback API: rebinding names, cross-site requests, CORS (security.md §4.1).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type FakeApp, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { openHttp2, sendRaw, statusOf } from "./wire.ts";

let app: FakeApp;
let mecha: TestMecha;
const state = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: memory }
spec: { type: state.in-memory, version: v1 }
`;

beforeAll(async () => {
  app = await fakeApp({ otherwise: () => ({ body: "from the app" }) });
  mecha = await startMecha({
    apps: [
      { appId: "plain", app },
      {
        appId: "listed",
        app,
        options: { allowedHosts: ["*.mesh.example"], allowedOrigins: "https://ok.example" },
      },
      { appId: "open", app, options: { listenAddresses: ["0.0.0.0"] } },
      { appId: "token", app, options: { apiToken: "secret" } },
    ],
    resources: state,
  });
});

afterAll(async () => {
  await mecha.stop();
  await app.close();
});

/** One of each family of routes; none of them may have an effect. */
const routes = [
  ["GET", "/v1.0/metadata"],
  ["GET", "/v1.0/healthz"],
  ["GET", "/v1.0/state/memory/a"],
  ["POST", "/v1.0/state/memory"],
  ["POST", "/v1.0/publish/pubsub/t"],
  ["GET", "/v1.0/invoke/plain/method/x"],
  ["POST", "/v1.0/bindings/none"],
  ["PUT", "/v1.0/actors/Cat/tom/method/feed"],
  ["GET", "/v1.0/secrets/secretstore/x"],
  ["POST", "/v1.0-alpha1/lock/lockstore"],
  ["POST", "/v1.0/shutdown"],
  ["OPTIONS", "/v1.0/state/memory"],
  ["GET", "/nowhere"],
] as const;

/** What a page can have its browser send as Host, and what only looks like loopback. */
const strangers = [
  ...[
    "evil.example",
    "evil.example:3500",
    "EVIL.EXAMPLE",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
  ],
  ...["evil-localhost", "xlocalhost", "notlocalhost:3500", "localhost.", "localhost.:3500", "127.0.0.1."],
  ...["127.0.0.1.nip.io", "7f000001.rbndr.us", "localtest.me", "lvh.me:3500", "www.localhost.com"],
  ...["0.0.0.0", "0.0.0.0:3500", "[::]", "[::]:3500", "[0:0:0:0:0:0:0:0]", "[::ffff:127.0.0.1]"],
  ...["[::ffff:7f00:1]:3500", "[::ffff:0:0]", "[::1%25lo]", "[fe80::1]", "[0:0:0:0:0:0:0:1]"],
  ...["2130706433", "2130706433:3500", "0x7f000001", "0177.0.0.1", "127.1", "127.0.1", "0x7f.1", "0"],
  ...["169.254.169.254", "10.0.0.1", "192.168.1.1:3500", "host.docker.internal", "metadata.google.internal"],
  ...["xn--localhost-", "a", "", ".localhost", "localhost,evil.example", "*", "localhost%2eevil.example"],
];

const bodyOf = (verb: string) => (verb === "POST" || verb === "PUT" ? "[]" : "");

async function http1(
  appId: string,
  [verb, path]: readonly [string, string],
  headers: string,
): Promise<string> {
  const body = bodyOf(verb);
  const head = `${verb} ${path} HTTP/1.1\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
  return sendRaw(mecha.ports(appId).http, head + body);
}

async function counted<T>(cases: T[], run: (one: T) => Promise<string | undefined>): Promise<string[]> {
  const wrong: string[] = [];
  for (let i = 0; i < cases.length; i += 20) {
    const found = await Promise.all(cases.slice(i, i + 20).map(run));
    wrong.push(...found.filter((each) => each !== undefined));
  }
  return wrong;
}

test("SEC-B1: no name of a stranger is served over HTTP/1, by any route", async () => {
  expect(strangers.length).toBeGreaterThanOrEqual(40);
  const cases = strangers.flatMap((host) => routes.map((route) => ({ host, route })));
  expect(cases.length).toBeGreaterThanOrEqual(600);
  const before = app.requests.length;
  const wrong = await counted(cases, async ({ host, route }) => {
    const answer = await http1("plain", route, `Host: ${host}\r\n`);
    const isRefused =
      statusOf(answer) === 400 || (statusOf(answer) === 403 && answer.includes("ERR_HOST_REFUSED"));
    return isRefused ? undefined : `${route.join(" ")} of ${host}: ${answer}`;
  });
  expect(wrong).toEqual([]);
  expect(app.requests.length).toBe(before);
});

test("SEC-B1: no name of a stranger is served over HTTP/2, and the two names of a request have to agree", async () => {
  const client = openHttp2(mecha.ports("plain").http);
  // The client puts its own name in the place of an empty one.
  const cases = strangers.filter(Boolean).flatMap((host) =>
    routes.flatMap(([verb, path]) => [
      { ":method": verb, ":path": path, ":authority": host },
      { ":method": verb, ":path": path, ":authority": "localhost", host },
      { ":method": verb, ":path": path, ":authority": host, host: "localhost" },
    ]),
  );
  const before = app.requests.length;
  const wrong = await counted(cases, async (headers) => {
    const { status } = await client.request(headers, bodyOf(headers[":method"]));
    return [0, 400, 403].includes(status) ? undefined : `${JSON.stringify(headers)}: ${status}`;
  });
  client.close();
  expect(wrong).toEqual([]);
  expect(cases.length).toBeGreaterThan(1_500);
  expect(app.requests.length).toBe(before);
});

test("SEC-B1: forms of Host that can be read two ways are refused", async () => {
  const twice = ["Host: localhost\r\nHost: evil.example\r\n", "Host: evil.example\r\nHost: localhost\r\n"];
  const odd = ["", "Host: u@localhost\r\n", "Host: localhost evil.example\r\n", "Host: localhost/\r\n"];
  for (const headers of [...twice, ...odd]) {
    expect([headers, statusOf(await http1("plain", routes[0], headers))]).toEqual([headers, 400]);
  }
  const { http } = mecha.ports("plain");
  const absolute = "GET http://evil.example/v1.0/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n";
  expect(statusOf(await sendRaw(http, absolute))).toBe(400);
  const both = "GET http://evil.example/v1.0/metadata HTTP/1.1\r\nHost: evil.example\r\n\r\n";
  expect(statusOf(await sendRaw(http, both))).toBe(403);
  expect(statusOf(await sendRaw(http, "GET /v1.0/metadata HTTP/1.0\r\n\r\n"))).toBe(403);
});

test("SEC-B1: what SDKs and curl send is served, by every name of its own", async () => {
  const { http } = mecha.ports("plain");
  const own = [
    "localhost",
    `localhost:${http}`,
    `127.0.0.1:${http}`,
    "127.0.0.1",
    "[::1]:3500",
    "api.localhost",
  ];
  for (const host of own) {
    const answer = await http1("plain", ["GET", "/v1.0/metadata"], `Host: ${host}\r\nUser-Agent: curl/8\r\n`);
    expect([host, statusOf(answer)]).toEqual([host, 200]);
  }
  const node = `Host: 127.0.0.1:${http}\r\nsec-fetch-mode: cors\r\naccept-language: *\r\n`;
  expect(statusOf(await http1("plain", ["GET", "/v1.0/metadata"], node))).toBe(200);
  const open = ["10.1.2.3:3500", "172.17.0.2", "mecha:3500", "[fd00::7]:3500", "localhost"];
  for (const host of open) {
    expect([host, statusOf(await http1("open", routes[0], `Host: ${host}\r\n`))]).toEqual([host, 200]);
  }
  expect(statusOf(await http1("open", routes[0], "Host: evil.example\r\n"))).toBe(403);
  expect(statusOf(await http1("listed", routes[0], "Host: a.mesh.example\r\n"))).toBe(200);
  expect(statusOf(await http1("token", routes[0], "Host: evil.example\r\ndapr-api-token: secret\r\n"))).toBe(
    200,
  );
  expect(statusOf(await http1("token", routes[0], "Host: evil.example\r\n"))).toBe(401);
});

const foreign = [
  ...[
    "http://evil.example",
    "https://evil.example:3500",
    "null",
    "http://localhost:8080",
    "http://127.0.0.1:1",
  ],
  ...["file://", "chrome-extension://abc", "https://ok.example.evil.example", "https://notok.example", ""],
];
const sites = ["cross-site", "same-site", "CROSS-SITE", "", "same-origin, cross-site"];
const kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json"];

test("SEC-B2: cross-site requests have no effect, whatever they look like", async () => {
  const marks = [
    ...foreign.flatMap((origin) => [
      `Origin: ${origin}\r\n`,
      `Origin: ${origin}\r\nSec-Fetch-Site: cross-site\r\n`,
    ]),
    ...sites.map((site) => `Sec-Fetch-Site: ${site}\r\n`),
    "Origin: http://localhost\r\nSec-Fetch-Site: cross-site\r\n",
    "Origin: http://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
  ];
  const cases = ["plain", "listed"].flatMap((appId) =>
    marks.flatMap((mark, at) =>
      routes.map((route) => ({ appId, route, mark: `${mark}Content-Type: ${kinds[at % 4]}\r\n` })),
    ),
  );
  expect(cases.length).toBeGreaterThanOrEqual(500);
  const before = app.requests.length;
  const wrong = await counted(cases, async ({ appId, route, mark }) => {
    const answer = await http1(appId, route, `Host: localhost\r\n${mark}`);
    const isRefused = statusOf(answer) === 403 && answer.includes("ERR_ORIGIN_REFUSED");
    return isRefused && !/access-control/i.test(answer) ? undefined : `${route.join(" ")} ${mark}: ${answer}`;
  });
  expect(wrong).toEqual([]);
  expect(app.requests.length).toBe(before);
  expect((await mecha.http("plain", "GET /v1.0/state/memory/a")).status).toBe(204);
});

test("SEC-B2: no Access-Control header without a list, and only to listed origins with one", async () => {
  for (const route of routes.filter(([, path]) => path !== "/v1.0/shutdown")) {
    expect(await http1("plain", route, "Host: localhost\r\n")).not.toMatch(/access-control/i);
  }
  const ok = "Host: localhost\r\nOrigin: https://ok.example\r\nSec-Fetch-Site: cross-site\r\n";
  const answer = await http1("listed", ["GET", "/v1.0/metadata"], ok);
  expect(answer).toMatch(/^HTTP\/1.1 200[\s\S]*access-control-allow-origin: https:\/\/ok.example/i);
  expect(answer).not.toMatch(/allow-private-network|allow-credentials/i);
  const preflight = await http1(
    "listed",
    ["OPTIONS", "/v1.0/metadata"],
    `${ok}Access-Control-Request-Method: PUT\r\n`,
  );
  expect(preflight).toMatch(/^HTTP\/1.1 204[\s\S]*access-control-allow-methods: PUT/i);
});

test("SEC-B2: the refusal says what to do, in the answer and once in the log", async () => {
  const { text } = await mecha.http("plain", "GET /v1.0/metadata", { headers: { host: "proxy.example" } });
  expect(text).toContain("allow it with --allowed-hosts");
  const lines = mecha
    .log()
    .split("\n")
    .filter((line) => line.includes("--allowed-hosts"));
  expect(lines.length).toBeGreaterThanOrEqual(1);
  expect(lines.length).toBeLessThanOrEqual(4);
});

test("SEC-B1: the gRPC port does not speak what a browser speaks", async () => {
  const { grpc } = mecha.ports("plain");
  const kinds = ["application/grpc-web", "application/grpc-web-text", "application/grpc", "application/json"];
  for (const kind of kinds) {
    const head = `POST /dapr.proto.runtime.v1.Dapr/GetMetadata HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${kind}\r\n`;
    expect(await sendRaw(grpc, `${head}Content-Length: 5\r\n\r\n\0\0\0\0\0`)).not.toMatch(/^HTTP\/1/);
  }
});
