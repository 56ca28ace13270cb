import { afterEach, expect, test } from "bun:test";
import type { AddressInfo } from "node:net";
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer,
  type TLSSocket,
  type TlsOptions,
} from "node:tls";
import type { KeyPair } from "../../src/control/identity/issue.ts";
import { openAuthority } from "../../src/host/identity.ts";
import { noData } from "../../src/peer/on-invoke.ts";
import { encodeMethodCall, methodCallTarget } from "../../src/peer/peer-link.ts";
import { fakeApp } from "../../src/testing/index.ts";
import { type Forgery, forge } from "./forged-certificate.ts";
import { type Member, Mesh } from "./identity-fixture.ts";

// SEC-M1: certificates that look nearly right, in both directions, against a real peer port and a real client.

let mesh = new Mesh();
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await mesh.close();
  mesh = new Mesh();
});

const minuteMs = 60_000;
const shop = "spiffe://public/ns/default/shop";
const good: Forgery = { uris: [shop] };

/** Each is one change of a good certificate; `isFine` for the few that are good as well. */
const forgeries: readonly (Forgery & { what: string; isFine?: true; by?: "itself" | "rogue" })[] = [
  { what: "as it should be", ...good, isFine: true },
  { what: "not yet valid by 14 minutes", ...good, fromMs: Date.now() + 14 * minuteMs, isFine: true },
  { what: "expired for 14 minutes", ...good, untilMs: Date.now() - 14 * minuteMs, isFine: true },
  {
    what: "with a DNS name and a common name beside the URI",
    ...good,
    dns: ["evil.example"],
    commonName: "admin",
    isFine: true,
  },
  { what: "signed by itself", ...good, by: "itself" },
  { what: "signed by itself, named like the root", ...good, by: "itself", commonName: "root" },
  { what: "of another root of the same name", ...good, by: "rogue" },
  { what: "not yet valid by 16 minutes", ...good, fromMs: Date.now() + 16 * minuteMs },
  {
    what: "not yet valid by a day",
    ...good,
    fromMs: Date.now() + 1440 * minuteMs,
    untilMs: Date.now() + 2880 * minuteMs,
  },
  { what: "expired for 16 minutes", ...good, untilMs: Date.now() - 16 * minuteMs },
  {
    what: "expired for a year",
    ...good,
    fromMs: Date.now() - 800 * 1440 * minuteMs,
    untilMs: Date.now() - 365 * 1440 * minuteMs,
  },
  { what: "for code signing", ...good, usages: ["1.3.6.1.5.5.7.3.3"] },
  { what: "for mail", ...good, usages: ["1.3.6.1.5.5.7.3.4"] },
  { what: "for any purpose", ...good, usages: ["2.5.29.37.0"] },
  { what: "for no stated purpose", ...good, noUsages: true },
  { what: "without key usage", ...good, noKeyUsage: true },
  { what: "with a key for encryption", ...good, keyUsage: 0x20 },
  { what: "with a key that signs certificates", ...good, keyUsage: 0x84 },
  { what: "of an authority", ...good, isAuthority: true, keyUsage: 0x86 },
  { what: "of an authority that may sign as well", ...good, isAuthority: true },
  { what: "signed with SHA-1", ...good, hash: "sha1" },
  { what: "with RSA of 1024 bits", ...good, rsaBits: 1024 },
  { what: "with a curve of 224 bits", ...good, curve: "P-224" },
  { what: "with a critical extension that nobody knows", ...good, strange: true },
  { what: "without a name", uris: [] },
  { what: "with the URI as a common name", uris: [], commonName: shop },
  { what: "with the URI as a DNS name", uris: [], dns: [shop] },
  { what: "with two URIs", uris: [shop, "spiffe://public/ns/default/admin"] },
  { what: "with the same URI twice", uris: [shop, shop] },
  { what: "with a URI and a web address", uris: [shop, "https://example.com/"] },
  { what: "with an IP address beside the URI", ...good, ip: Buffer.from([127, 0, 0, 1]) },
  { what: "with an IP address alone", uris: [], ip: Buffer.from([127, 0, 0, 1]) },
  ...[
    "SPIFFE://public/ns/default/shop",
    "spiffe://PUBLIC/ns/default/shop",
    "spiffe://public/ns/default/shop/",
    "spiffe://public/ns/default/",
    "spiffe://public/ns/default",
    "spiffe://public/ns//shop",
    "spiffe:///ns/default/shop",
    "spiffe://public//ns/default/shop",
    "spiffe://public/NS/default/shop",
    "spiffe://public/sa/default/shop",
    "spiffe://public/ns/default/shop\0",
    "spiffe://public/ns/default/shop\0.evil",
    "spiffe://public/ns/default/sh%6fp",
    "spiffe://public/ns/default/%2e%2e/shop",
    "spiffe://public/ns/default/../shop",
    "spiffe://public/ns/../default/shop",
    "spiffe://public/ns/default/..",
    "spiffe://public/ns/default/shop?x=1",
    "spiffe://public/ns/default/shop#x",
    "spiffe://public:443/ns/default/shop",
    "spiffe://user@public/ns/default/shop",
    "spiffe://public/ns/default/shop,admin",
    "spiffe://public/ns/default/shop ",
    " spiffe://public/ns/default/shop",
    "spiffe://public/ns/default/sh\u00f6p",
    "spiffe://public/ns/default/shop\n",
    "spiffe://public/ns/default/shop/method/x",
    "https://public/ns/default/shop",
    "public/ns/default/shop",
    "",
  ].map((uri) => ({ what: `named ${JSON.stringify(uri)}`, uris: [uri] })),
  // Good certificates of others: they are let in, and are not the shop.
  { what: "of another app", uris: ["spiffe://public/ns/default/shop2"] },
  { what: "of an app whose name it begins with", uris: ["spiffe://public/ns/default/sho"] },
  { what: "of an app in other letters", uris: ["spiffe://public/ns/default/Shop"] },
  { what: "of another namespace", uris: ["spiffe://public/ns/default2/shop"] },
];

async function start() {
  const app = await fakeApp({ handlers: { "POST /orders": () => ({ body: "taken" }) } });
  closers.push(() => app.close());
  const orders = await mesh.member("orders", { appPort: app.port });
  const retries = { DaprBuiltInServiceRetries: { policy: "constant", duration: "1ms", maxRetries: 0 } };
  const member = await mesh.member("shop", { resourcesPaths: mesh.resiliency({ policies: { retries } }) });
  const view = await openAuthority(orders.host).open();
  const rogue = forge({ isAuthority: true, keyUsage: 0x06, commonName: "root" }, undefined);
  const pairOf = (forgery: (typeof forgeries)[number]): KeyPair =>
    forge(forgery, forgery.by === "itself" ? undefined : forgery.by === "rogue" ? rogue : view.signer);
  return { app, orders, shop: member, pairOf, view };
}

const plainCall = { target: "/orders", fields: ["Content-Length: 0"], body: new Uint8Array() };

/** Says what the shop's mecha would say, with whatever certificate. Resolves with the status line, or why none came. */
async function dial(
  orders: Member,
  tls: ConnectionOptions,
  { target, fields, body }: { target: string; fields: readonly string[]; body: Uint8Array } = plainCall,
): Promise<string> {
  const [record] = (await orders.host.registry.list()).filter(({ appId }) => appId === "orders");
  if (record === undefined) throw new Error("orders is not announced");
  const lines = [
    `POST ${target} HTTP/1.1`,
    "Host: orders",
    `mecha-peer-token: ${record.token}`,
    "mecha-peer-app: default/orders",
    "dapr-caller-app-id: shop",
    "dapr-caller-namespace: default",
    ...fields,
    "Connection: close",
  ];
  const base = { host: "127.0.0.1", port: record.port, servername: "", rejectUnauthorized: false };
  return new Promise((resolve) => {
    const socket = connectTls({ ...base, ALPNProtocols: ["http/1.1"], ...tls });
    let answer = "";
    const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
    socket.on("secureConnect", () => socket.write(Buffer.concat([head, body])));
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("error", (error) => {
      answer ||= error.message;
    });
    socket.on("close", () => resolve(answer));
  });
}

test(`${forgeries.length} certificates: those that are not the shop's get nothing from the app`, async () => {
  const { app, orders, pairOf } = await start();
  const accepted: string[] = [];
  for (const forgery of forgeries) {
    const before = app.requests.length;
    const answer = await dial(orders, pairOf(forgery)).catch(unshowable);
    if (app.requests.length > before) accepted.push(forgery.what);
    if (!forgery.isFine)
      expect([forgery.what, /HTTP\/1.1 (?!403|500)/.test(answer)]).toEqual([forgery.what, false]);
  }
  expect(accepted).toEqual(forgeries.filter(({ isFine }) => isFine).map(({ what }) => what));
});

test("no certificate, an older TLS, no protocol or none at all: refused", async () => {
  const { app, orders, pairOf } = await start();
  const [fine] = forgeries;
  const pair = pairOf(fine as (typeof forgeries)[number]);
  for (const tls of [
    {},
    { ...pair, maxVersion: "TLSv1.2" as const },
    { ...pair, ALPNProtocols: [] },
    { ...pair, ALPNProtocols: ["h3"] },
  ])
    expect(await dial(orders, tls)).not.toContain("HTTP/1.1 200");
  const [record] = await orders.host.registry.list();
  const plain = await fetch(`http://127.0.0.1:${record?.port}/orders`).catch((error: Error) => error);
  expect(plain).toBeInstanceOf(Error);
  expect(app.requests).toHaveLength(0);
});

const unshowables = ["ERR_SSL_KEY_USAGE_BIT_INCORRECT", "ERR_OSSL_EVP_UNSUPPORTED_ALGORITHM"];

/** BoringSSL itself will not show a few of them. */
function unshowable(error: NodeJS.ErrnoException): string {
  if (unshowables.includes(error.code ?? "")) return "";
  throw error;
}

test("nobody is given a ticket to come back with: each connection shows its certificate", async () => {
  const { orders, pairOf } = await start();
  const pair = pairOf(forgeries[0] as (typeof forgeries)[number]);
  const [record] = await orders.host.registry.list();
  let tickets = 0;
  const base = { host: "127.0.0.1", port: record?.port, servername: "", rejectUnauthorized: false };
  const socket = connectTls({ ...base, ...pair, ALPNProtocols: ["http/1.1"] });
  socket.on("session", () => {
    tickets++;
  });
  // The answer comes behind the tickets of the handshake, if there were any.
  socket.on("secureConnect", () => socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  await new Promise((resolve) => socket.on("data", () => {}).on("close", resolve));
  expect(tickets).toBe(0);
});

test("a method call can not carry another name within", async () => {
  const app = await fakeApp({ handlers: { "POST /who": () => ({ body: "ok" }) } });
  closers.push(() => app.close());
  const orders = await mesh.member("orders", { appPort: app.port });
  const view = await openAuthority(orders.host).open();
  const call = { method: "who", data: noData, contentType: "", verb: "POST", querystring: "" };
  const metadata: [string, string][] = [["dapr-caller-app-id", "admin"]];
  const { signal } = new AbortController();
  const body = Buffer.from(encodeMethodCall({ ...call, metadata, trace: undefined, signal }));
  const fields = [
    "mecha-peer-call: method",
    `Content-Length: ${body.length}`,
    "Content-Type: application/x-protobuf",
  ];
  const answer = await dial(orders, forge(good, view.signer), { target: methodCallTarget, fields, body });
  expect(answer).toContain("HTTP/1.1 200");
  expect(app.requests[0]?.header("dapr-caller-app-id")).toBe("shop");
});

/** A server in the place of an app, with whatever certificate; tells how much it got to read. */
async function impostor(member: Member, appId: string, tls: TlsOptions, trustDomain = "public") {
  let bytes = 0;
  const sockets = new Set<TLSSocket>();
  const server = createServer({ ALPNProtocols: ["http/1.1"], ...tls }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const record = { namespace: "default", appId, instanceId: "1", host: "127.0.0.1", port, token: "t" };
  const registration = await member.host.registry.register({
    ...record,
    tls: { trustDomain, isRequired: true },
  });
  return {
    got: () => bytes,
    async close() {
      await registration.close();
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test("servers that show such certificates are told nothing", async () => {
  const { shop: caller, orders, pairOf } = await start();
  const told: string[] = [];
  for (const [index, forgery] of forgeries.entries()) {
    const appId = `target${index}`;
    const renamed = { ...forgery, uris: forgery.uris?.map((uri) => uri.replace("shop", appId)) ?? [] };
    const server = await impostor(orders, appId, pairOf(renamed)).catch(unshowable);
    if (typeof server === "string") continue;
    const { text } = await caller.ask(`GET /v1.0/invoke/${appId}/method/x`);
    if (forgery.isFine) expect(text).toBe("stolen");
    else expect(text).toContain("ERR_DIRECT_INVOKE");
    if (server.got() > 0) told.push(forgery.what);
    await server.close();
  }
  expect(told).toEqual(forgeries.filter(({ isFine }) => isFine).map(({ what }) => what));
}, 120_000);
