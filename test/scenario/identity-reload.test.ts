import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { issueWorkload } from "../../src/control/identity/authority.ts";
import { openAuthority } from "../../src/host/identity.ts";
import { fakeApp, until } from "../../src/testing/index.ts";
import { call, load, type Member, Mesh, taken } from "./identity-fixture.ts";

// Edits of spec.mtls and of the trust domain, while runtimes of one data folder call each other.

setDefaultTimeout(60_000);

let mesh = new Mesh();
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await mesh.close();
  mesh = new Mesh();
});

/** The callee, with a Configuration that can be edited. */
async function orders(spec: object, handler = async () => ({ body: "taken" })) {
  const app = await fakeApp({ handlers: { "POST /orders": handler } });
  closers.push(() => app.close());
  const configPaths = mesh.config(spec);
  const member = await mesh.member("orders", { appPort: app.port, configPaths, enableMtls: undefined });
  return { app, member, edit: (next: object) => mesh.edit(configPaths, next) };
}

const told = (member: Member, text: string, count = 1) =>
  until(() => member.log().split(text).length > count, text, 30_000);

const metadata = async (member: Member) => (await member.ask("GET /v1.0/metadata")).text;

test("a change from permissive to strict and back fails no call with a certificate", async () => {
  const permissive = { mtls: { mode: "permissive" } };
  const { member, edit } = await orders(permissive);
  const shop = await mesh.member("shop", mesh.atOnce());
  const plain = await mesh.member("plain", { enableMtls: false, ...mesh.atOnce() });
  expect(await plain.ask(call, "{}")).toEqual(taken);
  const running = load(shop);
  edit({ mtls: { mode: "strict" } });
  await told(member, "mTLS between runtimes is strict now");
  expect(await metadata(member)).toContain('"mtls":"strict"');
  await until(
    async () => (await plain.ask(call, "{}")).text.includes("requires mTLS, and it is off here"),
    "the announcement",
  );
  edit(permissive);
  await told(member, "mTLS between runtimes is permissive now");
  expect(await metadata(member)).toContain('"mtls":"permissive"');
  await until(async () => (await plain.ask(call, "{}")).status === 200, "the announcement");
  const before = running.calls();
  await until(() => running.calls() > before + 20, "calls after it");
  expect(await running.stop()).toEqual([]);
});

test("a call without TLS that is under way when it becomes required is answered, and is the last", async () => {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { app, member, edit } = await orders({ mtls: { mode: "permissive" } }, async () => {
    await released;
    return { body: "taken" };
  });
  const plain = await mesh.member("plain", { enableMtls: false, ...mesh.atOnce() });
  // A second connection, without a call when it is over.
  const answers = [plain.ask(call, "{}"), plain.ask(call, "{}")];
  await until(() => app.requests.length === 2, "the calls");
  // Whoever does not look at the registry would go on using the connection.
  const [record] = (await plain.host.registry.list()).filter(({ appId }) => appId === "orders");
  edit({ mtls: { mode: "strict" } });
  await told(member, "mTLS between runtimes is strict now");
  release();
  expect(await Promise.all(answers)).toEqual([taken, taken]);
  await until(() => record?.tls?.isRequired === true, "the announcement");
  Object.assign(record ?? {}, { tls: undefined });
  expect((await plain.ask(call, "{}")).status).toBe(500);
  expect(app.requests).toHaveLength(2);
});

test("another lifetime of certificates holds at once, and fails no call", async () => {
  const { member, edit } = await orders({ mtls: { mode: "strict" } });
  const shop = await mesh.member("shop", mesh.atOnce());
  const running = load(shop);
  edit({ mtls: { mode: "strict", workloadCertTTL: "1s" } });
  await told(member, "mTLS between runtimes is strict now");
  const seen = new Set<string>();
  const [record] = (await shop.host.registry.list()).filter(({ appId }) => appId === "orders");
  await until(
    async () => seen.add(await fingerprintAt(record?.port ?? 0)).size >= 3,
    "three certificates",
    20_000,
  );
  expect(await running.stop()).toEqual([]);
});

async function fingerprintAt(port: number): Promise<string> {
  const { connect } = await import("node:tls");
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: "127.0.0.1",
      port,
      servername: "",
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
    });
    socket.on("secureConnect", () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("clocks that may be less far apart: who was let in before is not any more", async () => {
  const { member, edit } = await orders({ mtls: { mode: "strict" } });
  const view = await openAuthority(member.host).open();
  const minuteMs = 60_000;
  const uri = "spiffe://public/ns/default/late";
  // Over for five minutes.
  const pair = issueWorkload(view, {
    uri,
    nowMs: Date.now() - 10 * minuteMs,
    lifeMs: 5 * minuteMs,
    skewMs: 0,
  });
  const write = (name: string, text: string) => {
    const file = join(mesh.folder, name);
    writeFileSync(file, text);
    return { file };
  };
  const ca = write("ca", view.roots.map((root) => root.pair.cert).join(""));
  const certificates = { ca, cert: write("crt", pair.cert), key: write("key", pair.key) };
  const late = await mesh.member("late", { certificates, enableMtls: undefined, ...mesh.atOnce() });
  expect(await late.ask(call, "{}")).toEqual(taken);
  edit({ mtls: { mode: "strict", allowedClockSkew: "1m" } });
  await told(member, "mTLS between runtimes is strict now");
  expect((await late.ask(call, "{}")).text).toContain("does not accept the certificate of this mecha");
  expect(member.log()).toContain("a peer was refused: its certificate has expired");
});

test("another trust domain fails no call, neither of callers nor of the actors that live there", async () => {
  const named = (trustDomain: string) => ({
    mtls: { mode: "strict" },
    accessControl: { defaultAction: "allow", trustDomain },
  });
  const app = await fakeApp({
    config: { entities: ["Cat"] },
    handlers: {
      "POST /orders": () => ({ body: "taken" }),
      "PUT /actors/Cat/tom/method/feed": () => ({ body: "fed" }),
    },
  });
  closers.push(() => app.close());
  const configPaths = mesh.config(named("warehouse"));
  const member = await mesh.member("orders", { appPort: app.port, configPaths });
  // New connections each second.
  const hasty = mesh.config({ mtls: { mode: "strict", workloadCertTTL: "1s" } });
  const shop = await mesh.member("shop", { configPaths: hasty, logLevel: "debug", ...mesh.atOnce() });
  const feed = "POST /v1.0/actors/Cat/tom/method/feed";
  await until(async () => (await shop.ask(feed, "{}")).text === "fed", "the cat", 20_000);
  const running = [load(shop), load(shop, { parallel: 2, line: feed })];
  const [record] = (await shop.host.registry.list()).filter(({ appId }) => appId === "orders");
  mesh.edit(configPaths, named("depot"));
  await until(() => record?.tls?.nextTrustDomain === "depot", "the announcement");
  expect(await metadata(member)).toContain('"spiffeId":"spiffe://warehouse/ns/default/orders"');
  await told(member, "as spiffe://depot/ns/default/orders");
  const renewals = shop.log().split("was renewed").length;
  await until(() => shop.log().split("was renewed").length > renewals + 1, "new connections", 20_000);
  expect(await metadata(member)).toContain('"spiffeId":"spiffe://depot/ns/default/orders"');
  for (const { calls } of running) {
    const before = calls();
    await until(() => calls() > before + 20, "calls after it", 20_000);
  }
  for (const { stop } of running) expect(await stop()).toEqual([]);
});

test("an edit that can not be used is told, and the old stays", async () => {
  const { member, edit } = await orders({ mtls: { mode: "strict" } });
  const shop = await mesh.member("shop", mesh.atOnce());
  const running = load(shop);
  const bad: [spec: object, why: string][] = [
    [{ mtls: { mode: "strickt" } }, "mode"],
    [{ mtls: { mode: "strict", workloadCertTTL: "10ms" } }, "workloadCertTTL is 10ms: at least 1s is needed"],
    [{ mtls: { mode: "strict", allowedClockSkew: "-1m" } }, "allowedClockSkew is -1m: at least 0s is needed"],
    [{ mtls: { mode: "off" } }, "the old one stays: mode off takes effect at the next start"],
    [
      { mtls: { mode: "strict" }, accessControl: { defaultAction: "allow", trustDomain: "Ware House" } },
      "has other characters than a-z, 0-9",
    ],
  ];
  for (const [spec, why] of bad) {
    edit(spec);
    await told(member, why);
  }
  expect(await metadata(member)).toContain('"spiffeId":"spiffe://public/ns/default/orders"');
  expect(await metadata(member)).toContain('"mtls":"strict"');
  const plain = await mesh.member("plain", { enableMtls: false, ...mesh.atOnce() });
  expect((await plain.ask(call, "{}")).text).toContain("requires mTLS, and it is off here");
  expect(await running.stop()).toEqual([]);
});
