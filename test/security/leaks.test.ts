// Tokens, secrets and payloads stay where they belong (security.md §4.3 and §4.9: SEC-T1, T2, L1, L2).
import { afterAll, beforeAll, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import {
  createHttpClient,
  createHttpServer,
  type HttpClient,
  type HttpServer,
} from "../../src/net/http1/index.ts";
import { type FakeApp, fakeApp, startMecha, type TestMecha, until } from "../../src/testing/index.ts";
import { sendRaw, statusOf } from "./wire.ts";

const canary = (what: string) => `canary-${what}-${randomBytes(9).toString("hex")}`;
const secrets = {
  shopApi: canary("shop-api"),
  shopApp: canary("shop-app"),
  cartApi: canary("cart-api"),
  cartApp: canary("cart-app"),
  redis: canary("redis"),
  postgresql: canary("postgresql"),
  binding: canary("binding"),
  endpoint: canary("endpoint"),
  vault: canary("vault"),
  model: canary("model"),
  jwk: canary("jwk"),
};
/** Contents of messages: for apps and stores alone. */
const payload = canary("payload");

let folder: string;
let shop: FakeApp;
let cart: FakeApp;
let outside: FakeApp;
let sink: HttpServer;
const spans: string[] = [];
/** What came to parties outside: header lines of every request. */
const _outsideHeaders: string[] = [];
let mecha: TestMecha;
let client: HttpClient;
const answers: string[] = [];

const resources = (port: number, vaultFile: string) => `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: vault }
spec: { type: secretstores.local.file, version: v1, metadata: [{ name: secretsFile, value: ${JSON.stringify(vaultFile)} }] }
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: redis }
spec:
  type: state.redis
  version: v1
  ignoreErrors: true
  metadata: [{ name: redisHost, value: "127.0.0.1:1" }, { name: redisPassword, value: ${secrets.redis} }]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: postgres }
spec:
  type: state.postgresql
  version: v1
  ignoreErrors: true
  metadata: [{ name: connectionString, value: "postgresql://u:${secrets.postgresql}@127.0.0.1:1/db?connect_timeout=1" }]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: send }
spec:
  type: bindings.http
  version: v1
  metadata:
    - { name: url, value: "http://127.0.0.1:${port}/hook" }
    - { name: securityToken, secretKeyRef: { name: binding, key: binding } }
    - { name: securityTokenHeader, value: X-Hook-Key }
auth: { secretStore: vault }
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: gpt }
spec:
  type: conversation.openai
  version: v1
  metadata: [{ name: key, value: ${secrets.model} }, { name: endpoint, value: "http://127.0.0.1:${port}/fail" }]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: claude }
spec:
  type: conversation.anthropic
  version: v1
  metadata: [{ name: key, value: ${secrets.model} }, { name: endpoint, value: "http://127.0.0.1:${port}" }]
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: { name: keys }
spec:
  type: crypto.dapr.jwks
  version: v1
  metadata: [{ name: jwks, value: '{"keys":[{"kid":"k","kty":"oct","k":"${secrets.jwk}"}]}' }]
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: { name: outside }
auth: { secretStore: vault }
spec:
  baseUrl: "http://127.0.0.1:${port}/endpoint"
  headers: [{ name: X-Endpoint-Key, secretKeyRef: { name: endpoint, key: endpoint } }]
`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mecha-leaks-"));
  const vault = join(folder, "vault.json");
  writeFileSync(
    vault,
    JSON.stringify({ binding: secrets.binding, endpoint: secrets.endpoint, vault: secrets.vault }),
  );
  sink = createHttpServer({
    handler: async (request) => {
      spans.push(Buffer.from(await request.body.bytes(16 << 20)).toString("latin1"));
      return { status: 200, headers: [] };
    },
  });
  const bound = await sink.listen({ host: "127.0.0.1", port: 0 });
  const sinkPort = "port" in bound ? bound.port : 0;
  shop = await fakeApp({
    otherwise: ({ target }) => ({ status: target.includes("fail") ? 500 : 200, body: payload }),
  });
  cart = await fakeApp({
    otherwise: ({ target }) => ({ status: target.includes("fail") ? 500 : 200, body: payload }),
  });
  outside = await fakeApp({
    otherwise: ({ target }) => ({ status: target.includes("fail") ? 500 : 200, body: "ok" }),
  });
  const config = join(folder, "config.yaml");
  writeFileSync(
    config,
    JSON.stringify({
      apiVersion: "dapr.io/v1alpha1",
      kind: "Configuration",
      metadata: { name: "traced" },
      spec: {
        tracing: {
          samplingRate: "1",
          otel: { endpointAddress: `127.0.0.1:${sinkPort}`, isSecure: false, protocol: "http" },
        },
        secrets: { scopes: [{ storeName: "vault", defaultAccess: "deny" }] },
      },
    }),
  );
  const shared = {
    configPaths: [config],
    logLevel: "debug" as const,
    enableApiLogging: true,
    enableMetrics: true,
    metricsPort: 0,
    metricsListenAddress: "127.0.0.1",
  };
  mecha = await startMecha({
    apps: [
      {
        appId: "shop",
        app: shop,
        options: { ...shared, apiToken: secrets.shopApi, appToken: secrets.shopApp },
      },
      {
        appId: "cart",
        app: cart,
        options: { ...shared, apiToken: secrets.cartApi, appToken: secrets.cartApp },
      },
    ],
    resources: resources(outside.port, vault),
  });
  client = createHttpClient();
  await until(async () => (await ask("GET", "/v1.0/invoke/cart/method/x")).status === 200, "the apps");
});

afterAll(async () => {
  client.close();
  await mecha.stop();
  await Promise.all([shop.close(), cart.close(), outside.close(), sink.close()]);
  rmSync(folder, { recursive: true, force: true });
});

async function ask(method: string, target: string, body?: string, token: string | null = secrets.shopApi) {
  const address = { host: "127.0.0.1", port: mecha.ports("shop").http };
  const headers = [
    "content-type",
    "application/json",
    "x-text",
    payload,
    "authorization",
    `Bearer ${payload}`,
    "cookie",
    `a=${payload}`,
  ];
  if (token !== null) headers.push("dapr-api-token", token);
  const response = await client.request(address, { method, target, headers, body });
  const text = Buffer.from(await response.body.bytes(16 << 20)).toString("latin1");
  return { status: response.status, text: `${response.rawHeaders.join("\n")}\n${text}` };
}

/** What needs no token, and what only looks like it. */
function exemptVariants(): string[] {
  const exempt = ["/v1.0/healthz", "/v1.0/healthz/outbound"];
  const targets = [
    "/v1.0/metadata",
    "/v1.0/state/statestore/x",
    "/v1.0/invoke/shop/method/x",
    "/v1.0/secrets/vault/vault",
  ];
  const around = exempt.flatMap((path) => [
    ...targets.flatMap((target) => [
      ...[
        `${target}?${path}`,
        `${target}?x=${path}`,
        `${target}?${path}=1`,
        `${target}${path}`,
        `${target}/${path}`,
      ],
      ...[
        `${target}/..${path}x`,
        `${path}/..${target}`,
        `${path}/../../..${target}`,
        `${path}/%2e%2e/%2e%2e${target}`,
      ],
      ...[`${path}/..;${target}`, `${target};${path}`, `${path};${target}`, `${path}%2f..%2f..${target}`],
      ...[
        `${target}%23${path}`,
        `${target}%3f${path}`,
        `${path}%00${target}`,
        `${path}/../..${target}`,
        `/${target}?${path}`,
      ],
    ]),
    ...[
      "x",
      "/x",
      ";x",
      "%20",
      "%00",
      "%2f",
      ".",
      "/.x",
      "%2e",
      ".json",
      "//x",
      "z",
      "/outboundx",
      "/Outbound/x",
      "\\",
      "%5c",
      "*",
      "~",
      "%0a",
    ].map((end) => path + end),
    ...[
      path.toUpperCase(),
      path.replace("z", "Z"),
      path.replace("/", "/%76"),
      path.replace("healthz", "health%7a"),
      path.replace("h", "%68"),
    ],
    ...[
      path.replace("v1.0", "v1.0-alpha1"),
      path.replace("v1.0", "v1%2e0"),
      path.replace("v1.0", "V1.0"),
      `/x${path}`,
      `/v1.0/invoke/shop/method${path}`,
    ],
  ]);
  return [...new Set(around)];
}

test("SEC-T1: only the exact health routes answer without a token", async () => {
  const variants = exemptVariants();
  const verbs = ["GET", "POST"];
  expect(variants.length * verbs.length).toBeGreaterThanOrEqual(300);
  const [before, wrong] = [shop.requests.length, [] as string[]];
  for (const target of variants) {
    for (const verb of verbs) {
      const { status } = await ask(verb, target, undefined, null);
      // What cleans to the very route is that route: `/v1.0/healthz/` and `/v1.0/healthz/../healthz`.
      if (status !== 401 && status !== 400) wrong.push(`${verb} ${target}: ${status}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(shop.requests.length).toBe(before);
  for (const [path, status] of [
    ["/v1.0/healthz", 204],
    ["/v1.0/healthz/outbound", 204],
  ] as const)
    expect((await ask("GET", path, undefined, null)).status).toBe(status);
});

test("SEC-T1: tokens that are nearly right, and overrides of method and URL, are no tokens", async () => {
  const { http } = mecha.ports("shop");
  const right = secrets.shopApi;
  const wrong = [
    ...[
      "",
      " ",
      "*",
      "null",
      right.slice(0, -1),
      `${right}x`,
      ` ${right}x`,
      right.toUpperCase(),
      `${right},${right}`,
      secrets.shopApp,
    ],
    ...[secrets.cartApi, `Bearer ${right}`, `"${right}"`, right.replace("c", "C"), "\xff"],
  ];
  const lines = [
    ...wrong.map((token) => `dapr-api-token: ${token}`),
    ...["x-dapr-api-token", "dapr_api_token", "authorization", "cookie", "dapr-app-token"].map(
      (name) => `${name}: ${right}`,
    ),
    ...[
      `dapr-api-token: ${right}x\r\ndapr-api-token: ${right}`,
      `dapr-api-token: ${right}\r\ndapr-api-token: x`,
    ],
    ...[
      "X-HTTP-Method-Override: GET",
      "X-Original-URL: /v1.0/healthz",
      "X-Rewrite-URL: /v1.0/healthz",
      "X-Forwarded-For: 127.0.0.1",
    ],
  ];
  for (const line of lines) {
    const answer = await sendRaw(http, `GET /v1.0/metadata HTTP/1.1\r\nHost: localhost\r\n${line}\r\n\r\n`);
    expect([line, statusOf(answer)]).toEqual([line, 401]);
  }
});

const state = JSON.stringify([{ key: "k", value: payload }]);
const said = JSON.stringify({ inputs: [{ messages: [{ ofUser: { content: [{ text: payload }] } }] }] });
const slow = /redis|postgres|nobody|127\.0\.0\.1|actors/;
/** Calls that work and calls that fail, of every building block. */
const calls: [string, string, string?][] = [
  ["POST", "/v1.0/state/statestore", state],
  ["GET", "/v1.0/state/statestore/k"],
  ["POST", "/v1.0/state/redis", state],
  ["GET", "/v1.0/state/redis/k"],
  ["POST", "/v1.0/state/postgres", state],
  ["GET", "/v1.0/state/nowhere/k"],
  ["POST", "/v1.0/state/statestore", `{"broken": "${payload}`],
  [
    "POST",
    "/v1.0/state/statestore/transaction",
    JSON.stringify({ operations: [{ operation: "upsert", request: { key: "t", value: payload } }] }),
  ],
  ["POST", "/v1.0/publish/pubsub/orders", JSON.stringify({ text: payload })],
  ["POST", "/v1.0/publish/nowhere/orders", JSON.stringify({ text: payload })],
  ["POST", "/v1.0/invoke/cart/method/x", payload],
  ["POST", "/v1.0/invoke/cart/method/fail", payload],
  ["POST", "/v1.0/invoke/shop/method/x", payload],
  ["POST", "/v1.0/invoke/nobody/method/x", payload],
  ["POST", "/v1.0/invoke/outside/method/x", payload],
  ["POST", "/v1.0/invoke/outside/method/fail", payload],
  ["POST", `/v1.0/invoke/http%3A%2F%2F127.0.0.1%3A1/method/x`, payload],
  ["POST", "/v1.0/bindings/send", JSON.stringify({ operation: "post", data: payload })],
  [
    "POST",
    "/v1.0/bindings/send",
    JSON.stringify({ operation: "post", data: payload, metadata: { path: "fail" } }),
  ],
  ["POST", "/v1.0/bindings/send", JSON.stringify({ operation: "none", data: payload })],
  ["GET", "/v1.0/secrets/vault/vault"],
  ["GET", "/v1.0/secrets/vault/bulk"],
  ["GET", "/v1.0/secrets/nowhere/x"],
  [
    "POST",
    "/v1.0-alpha1/lock/lockstore",
    JSON.stringify({ resourceId: "r", lockOwner: "o", expiryInSeconds: 5 }),
  ],
  ["GET", "/v1.0/configuration/configstore?key=a"],
  ["POST", "/v1.0-alpha2/conversation/gpt/converse", said],
  ["POST", "/v1.0-alpha2/conversation/claude/converse", said],
  ["PUT", "/v1.0-alpha1/crypto/keys/encrypt", payload],
  ["PUT", "/v1.0-alpha1/crypto/keys/decrypt", payload],
  ["POST", "/v1.0-alpha1/subtlecrypto/keys/getkey", JSON.stringify({ name: "k" })],
  ["POST", "/v1.0/actors/Cat/tom/method/feed", payload],
  ["GET", "/v1.0/metadata"],
  ["PUT", "/v1.0/metadata/colour", "red"],
  ["POST", "/v1.0-alpha1/jobs/j", JSON.stringify({ dueTime: "1h", data: payload })],
  ["POST", "/v1.0/workflows/dapr/none/start", payload],
  ["GET", "/nowhere"],
];

/** Asks for everything, with the right token, without one, and with that of another app. */
async function askEverything(): Promise<number> {
  let count = 0;
  for (let round = 0; round < 20; round++) {
    // What waits for somebody who is not there is asked once.
    const due = round === 0 ? calls : calls.filter(([, target]) => !slow.test(target));
    for (const token of [secrets.shopApi, null, secrets.cartApi]) {
      const got = await Promise.all(due.map(([method, target, body]) => ask(method, target, body, token)));
      for (const [i, { text }] of got.entries()) answers.push(`${due[i]?.slice(0, 2).join(" ")}\n${text}`);
      count += got.length;
    }
  }
  const grpc = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
  for (const name of [
    "GetMetadata",
    "GetState",
    "InvokeService",
    "PublishEvent",
    "InvokeBinding",
    "GetSecret",
    "Nonsense",
  ]) {
    for (const token of [secrets.shopApi, secrets.cartApi, "x"]) {
      const metadata: [string, string][] = [
        ["dapr-api-token", token],
        ["x-text", payload],
      ];
      const path = `/dapr.proto.runtime.v1.Dapr/${name}`;
      const bytes = Buffer.from(`\x0a\x05${payload.slice(0, 5)}`);
      answers.push(
        await grpc
          .unary(path, bytes, { metadata, timeoutMs: 10_000 })
          .then((b) => Buffer.from(b).toString("latin1"), String),
      );
      count++;
    }
  }
  grpc.close();
  return count;
}

test("SEC-T2, SEC-L1, SEC-L2: no token, secret or payload gets where it does not belong", async () => {
  const count = await askEverything();
  expect(count).toBeGreaterThanOrEqual(1_500);
  await until(() => spans.length > 0, "spans", 20_000);
  const metrics = await scrape();
  expect(metrics).toContain("dapr_http_server");

  const own = Object.values(secrets);
  const hits = (where: string, text: string, wanted: readonly string[]) =>
    wanted.filter((one) => text.includes(one)).map((one) => `${one} in ${where}: ${around(text, one)}`);
  expect(
    [
      ...hits("the log", mecha.log(), [...own, payload]),
      ...hits("spans", spans.join("\n"), [...own, payload]),
      ...hits("metrics", metrics, [...own, payload]),
      ...answers.flatMap((text) => hits("an answer", text, own)),
      ...hits(
        "requests to the other app",
        headersOf(cart),
        own.filter((one) => one !== secrets.cartApp),
      ),
      ...hits(
        "requests to the own app",
        headersOf(shop),
        own.filter((one) => one !== secrets.shopApp),
      ),
      ...hits(
        "requests outside",
        headersOf(outside),
        own.filter((one) => ![secrets.binding, secrets.endpoint, secrets.model].includes(one)),
      ),
    ].slice(0, 20),
  ).toEqual([]);
  const failures = answers.filter((text) => text.includes("ERR_"));
  const internals = failures.filter((text) =>
    /\bat \w+ \(|\.ts:\d+|node_modules|\/work\/|\/tmp\//.test(text),
  );
  expect(internals.slice(0, 5)).toEqual([]);
});

const around = (text: string, one: string) =>
  text.slice(Math.max(0, text.indexOf(one) - 160), text.indexOf(one) + 20);
const names = [
  "dapr-api-token",
  "x-hook-key",
  "x-endpoint-key",
  "authorization",
  "x-text",
  "traceparent",
  "dapr-caller-app-id",
  "baggage",
];
const headersOf = ({ requests }: FakeApp) =>
  requests
    .map(({ header, target }) => `${target} ${names.map((name) => header(name) ?? "").join(" ")}`)
    .join("\n");

async function scrape(): Promise<string> {
  const response = await client.request(
    { host: "127.0.0.1", port: mecha.ports("shop").metrics },
    { method: "GET", target: "/metrics", headers: [] },
  );
  return Buffer.from(await response.body.bytes(16 << 20)).toString("latin1");
}
