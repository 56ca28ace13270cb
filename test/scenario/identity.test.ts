import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { issueWorkload } from "../../src/control/identity/authority.ts";
import { issueRoot, type KeyPair } from "../../src/control/identity/issue.ts";
import { openAuthority } from "../../src/host/identity.ts";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { fakeApp, until } from "../../src/testing/index.ts";
import { forge } from "./forged-certificate.ts";
import { call, load, type Member, Mesh, taken } from "./identity-fixture.ts";

// Runtimes of one data folder with mTLS between them. SEC-M1 is in identity-bad-peers.test.ts.

setDefaultTimeout(30_000);

let mesh = new Mesh();
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await mesh.close();
  mesh = new Mesh();
});

async function ordersApp() {
  const app = await fakeApp({ handlers: { "POST /orders": () => ({ body: "taken" }) } });
  closers.push(() => app.close());
  return app;
}

async function orders(options: object = {}) {
  const app = await ordersApp();
  const member = await mesh.member("orders", { appPort: app.port, ...options });
  return { app, member };
}

const atOnce = () => mesh.atOnce();

test("calls go over mTLS, and the metadata say so", async () => {
  await orders();
  const shop = await mesh.member("shop");
  expect(await shop.ask(call, "{}")).toEqual(taken);
  expect(shop.log()).toContain("mTLS between runtimes is strict, as spiffe://public/ns/default/shop");
  expect((await shop.ask("GET /v1.0/metadata")).text).toContain('"mtls":"strict"');
});

test("the authority is a file for its owner alone, and is not used when others may read it", async () => {
  const member = await mesh.member("orders");
  const path = join(mesh.folder, "identity", "authority.json");
  expect([statSync(path).mode & 0o777, statSync(join(path, "..")).mode & 0o777]).toEqual([0o600, 0o700]);
  await member.close();
  chmodSync(path, 0o640);
  const refused = await mesh.member("orders").catch((error: Error) => error.message);
  expect(refused).toBe(`${path} has mode 0640: others may read keys; make it 0600 (chmod 600 ${path})`);
});

test("keys are kept encrypted when there is a secret", async () => {
  const secret = { MECHA_IDENTITY_SECRET: "of the whole mesh" };
  const first = await mesh.member("orders", {}, secret);
  expect(await Bun.file(join(mesh.folder, "identity", "authority.json")).text()).not.toContain("PRIVATE KEY");
  await first.close();
  const without = await mesh.member("shop").catch((error: Error) => error.message);
  expect(without).toContain("set MECHA_IDENTITY_SECRET");
  const wrong = await mesh
    .member("shop", {}, { MECHA_IDENTITY_SECRET: "x" })
    .catch((error: Error) => error.message);
  expect(wrong).toContain("MECHA_IDENTITY_SECRET is not the one");
  await mesh.member("shop", {}, secret);
});

test("what goes between the two can not be read on the way", async () => {
  const canary = `canary-${crypto.randomUUID()}`;
  const app = await fakeApp({ handlers: { "POST /orders": ({ text }) => ({ body: `seen ${text}` }) } });
  closers.push(() => app.close());
  for (const isOn of [true, false]) {
    const member = await mesh.member("orders", { appPort: app.port, enableMtls: isOn });
    const shop = await mesh.member("shop", { enableMtls: isOn });
    const [record] = (await shop.host.registry.list()).filter(({ appId }) => appId === "orders");
    const relay = await recordingRelay(record?.port ?? 0);
    // The record of the registry stays; the port it leads to is that of the relay.
    Object.assign(record ?? {}, { port: relay.port, address: { host: "127.0.0.1", port: relay.port } });
    expect(await shop.ask(call, canary)).toEqual({ status: 200, text: `seen ${canary}` });
    expect(relay.bytes()).toBeGreaterThan(100);
    expect([isOn, relay.text().includes(canary)]).toEqual([isOn, !isOn]);
    await Promise.all([member.close(), shop.close()]);
  }
});

async function recordingRelay(to: number) {
  const chunks: Uint8Array[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const other = connect(to, "127.0.0.1");
    sockets.push(socket, other);
    for (const [from, into] of [
      [socket, other],
      [other, socket],
    ] as const) {
      from.on("data", (chunk) => {
        chunks.push(Buffer.from(chunk));
        into.write(chunk);
      });
      from.on("error", () => into.destroy());
      from.on("close", () => into.end());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    bytes: () => Buffer.concat(chunks).length,
    text: () => Buffer.concat(chunks).toString("latin1"),
  };
}

test("one that has mTLS and one that has none say what keeps them apart", async () => {
  const { member } = await orders({ enableMtls: false });
  const shop = await mesh.member("shop", atOnce());
  const plain = await shop.ask(call, "{}");
  expect(plain.text).toContain("announces no mTLS, and it is required here (mtls.mode strict)");
  await Promise.all([member.close(), shop.close()]);
  await orders();
  const other = await mesh.member("shop", { enableMtls: false, ...atOnce() });
  expect((await other.ask(call, "{}")).text).toContain("requires mTLS, and it is off here (--enable-mtls)");
});

test("a permissive one takes both, and calls both", async () => {
  const { member } = await orders({
    configPaths: mesh.config({ mtls: { mode: "permissive" } }),
    enableMtls: undefined,
  });
  expect(member.log()).toContain("mtls.mode permissive: peers without a certificate are let in too");
  expect((await member.ask("GET /v1.0/metadata")).text).toContain('"mtls":"permissive"');
  const strict = await mesh.member("strict");
  const plain = await mesh.member("plain", { enableMtls: false });
  expect(await strict.ask(call, "{}")).toEqual(taken);
  expect(await plain.ask(call, "{}")).toEqual(taken);
});

test("access control judges the name and the trust domain of the certificate, with daprd's flags too", async () => {
  const policy = { appId: "shop", namespace: "default", trustDomain: "warehouse", defaultAction: "allow" };
  const configPaths = mesh.config({
    accessControl: { defaultAction: "deny", trustDomain: "orders", policies: [policy] },
  });
  await orders({ configPaths, isStrict: true });
  const own = (trustDomain: string) => ({
    configPaths: mesh.config({ accessControl: { defaultAction: "allow", trustDomain } }),
  });
  const shop = await mesh.member("shop", own("warehouse"));
  expect(await shop.ask(call, "{}")).toEqual(taken);
  await shop.close();
  const elsewhere = await mesh.member("shop", own("elsewhere"));
  expect((await elsewhere.ask(call, "{}")).status).toBe(403);
  const stranger = await mesh.member("stranger", own("warehouse"));
  expect((await stranger.ask(call, "{}")).status).toBe(403);
});

test("two apps of one process each call as themselves, over the same client", async () => {
  const { app } = await orders();
  const first = await mesh.member("first");
  const second = await mesh.beside(first, "second");
  const asked: string[] = [];
  for (let round = 0; round < 500; round++) {
    const [member, name] = Math.random() < 0.5 ? [first, "first"] : [second, "second"];
    asked.push(name as string);
    expect((await (member as Member).ask(call, "{}")).status).toBe(200);
  }
  expect(app.requests.map((request) => request.header("dapr-caller-app-id"))).toEqual(asked);
});

test("certificates that are renewed each second fail no call", async () => {
  const configPaths = mesh.config({ mtls: { mode: "strict", workloadCertTTL: "1s" } });
  await orders({ configPaths });
  const shop = await mesh.member("shop", { configPaths, logLevel: "debug", ...atOnce() });
  const running = load(shop);
  const renewals = () => shop.log().split("was renewed").length - 1;
  await until(() => renewals() >= 5, "five renewals", 20_000);
  expect(await running.stop()).toEqual([]);
  expect(running.calls()).toBeGreaterThan(50);
}, 30_000);

test("a new root takes the place of the old one under load, and an older bundle is refused by name", async () => {
  await orders();
  const shop = await mesh.member("shop", { logLevel: "debug", ...atOnce() });
  const authority = openAuthority(shop.host);
  const before = await authority.open();
  const files = issueFiles(before, "late");
  const late = await mesh.member("late", { certificates: files, enableMtls: undefined, ...atOnce() });
  expect(await late.ask(call, "{}")).toEqual(taken);
  const running = load(shop);
  await authority.addRoot(3000);
  const renewed = () => shop.log().split("was renewed").length - 1;
  await until(() => renewed() >= 2, "the certificate of the new root", 20_000);
  const callsThen = running.calls();
  await until(() => running.calls() > callsThen + 20, "calls with it");
  expect(await authority.dropOldRoots(0)).toBe(1);
  await until(() => renewed() >= 3, "the shorter bundle", 20_000);
  const callsAfter = running.calls();
  await until(() => running.calls() > callsAfter + 20, "calls after it");
  expect(await running.stop()).toEqual([]);
  expect(readRoots(await authority.open())).not.toEqual(readRoots(before));
  // The callee reads the shorter bundle in its own time.
  const reason = "its certificate is signed by a root that is not in the trust bundle here";
  await until(async () => (await late.ask(call, "{}")).text.includes(reason), "it is refused", 20_000);
  expect(late.log()).toContain("a peer was refused: its certificate is signed by a root");
}, 60_000);

test("a root that comes to its end is followed by another under load, without anybody's doing", async () => {
  const nowMs = Date.now();
  const lastMs = 10_000;
  const old = issueRoot({ name: "old", notBeforeMs: nowMs - 30_000, notAfterMs: nowMs + lastMs });
  const folder = join(mesh.folder, "identity");
  mkdirSync(folder, { mode: 0o700 });
  const kept = { format: "mecha-identity-1", roots: [{ ...old, signsFromMs: 0 }] };
  writeFileSync(join(folder, "authority.json"), JSON.stringify(kept), { mode: 0o600 });
  const configPaths = mesh.config({ mtls: { mode: "strict", allowedClockSkew: "0s" } });
  await orders({ configPaths });
  const shop = await mesh.member("shop", { configPaths, ...atOnce() });
  const running = load(shop);
  const authority = openAuthority(shop.host);
  const signer = async () => (await authority.find())?.signer.cert;
  expect(readRoots(await authority.open())).toEqual([old.cert]);
  await until(async () => readRoots(await authority.open()).length === 2, "the new root", 20_000);
  const both = readRoots(await authority.open());
  expect([both[0], await signer()]).toEqual([old.cert, old.cert]);
  await until(async () => (await signer()) === both[1], "the new root signs", 20_000);
  await until(() => Date.now() > nowMs + lastMs + 1000, "the end of the old one", 20_000);
  const before = running.calls();
  await until(() => running.calls() > before + 20, "calls after it");
  expect(await running.stop()).toEqual([]);
  expect(readRoots(await authority.open())).toEqual(both);
}, 60_000);

function readRoots({ roots }: { roots: readonly { pair: { cert: string } }[] }): string[] {
  return roots.map(({ pair }) => pair.cert);
}

/** Files of somebody who does not follow the authority. */
function issueFiles(view: Parameters<typeof issueWorkload>[0], appId: string) {
  const uri = `spiffe://public/ns/default/${appId}`;
  const pair = issueWorkload(view, { uri, nowMs: Date.now(), lifeMs: 3_600_000, skewMs: 60_000 });
  const write = (name: string, text: string) => {
    const file = join(mesh.folder, `${appId}.${name}`);
    writeFileSync(file, text);
    return { file };
  };
  const ca = readRoots(view).join("");
  return { ca: write("ca", ca), cert: write("crt", pair.cert), key: write("key", pair.key) };
}

test("files of one's own are looked at again, and a bad set changes nothing", async () => {
  const { member } = await orders();
  const authority = openAuthority(member.host);
  const view = await authority.open();
  const certificates = issueFiles(view, "own");
  const own = await mesh.member("own", { certificates, enableMtls: undefined, logLevel: "debug" });
  expect(await own.ask(call, "{}")).toEqual(taken);
  issueFiles(view, "own");
  await until(() => own.log().includes("was renewed"), "the new files", 10_000);
  writeFileSync(
    certificates.cert.file,
    issueWorkload(view, {
      uri: "spiffe://public/ns/default/other",
      nowMs: Date.now(),
      lifeMs: 60_000,
      skewMs: 0,
    }).cert,
  );
  await until(
    () => own.log().includes("the certificate names spiffe://public/ns/default/other"),
    "the refusal",
    10_000,
  );
  expect(await own.ask(call, "{}")).toEqual(taken);
  const wrong = await mesh
    .member("shop", { certificates: issueFiles(view, "own") })
    .catch((error: Error) => error.message);
  expect(wrong).toBe(
    "the certificate names spiffe://public/ns/default/own, and this is namespace default, app shop",
  );
}, 30_000);

const authority = { isAuthority: true, keyUsage: 0x06 } as const;

/** An authority of somebody else's: a root, and as many below it as are asked for, the last of which signs. */
function externalAuthority(below: number) {
  const root = forge({ ...authority, commonName: "root" }, undefined);
  const chain: KeyPair[] = [];
  for (let depth = 0; depth < below; depth++)
    chain.unshift(forge({ ...authority, commonName: `below ${depth}` }, chain[0] ?? root));
  return {
    root,
    /** The three files of an app, and what is in them. */
    issue(appId: string, { isWhole = true } = {}) {
      const leaf = forge({ uris: [`spiffe://corp/ns/default/${appId}`] }, chain[0] ?? root);
      const shown = [leaf, ...(isWhole ? chain : [])].map(({ cert }) => cert).join("");
      return { ca: { text: root.cert }, cert: { text: shown }, key: { text: leaf.key } };
    },
  };
}

for (const below of [0, 1, 2, 3])
  test(`certificates of an authority in files, ${below} intermediates below its root`, async () => {
    const { issue } = externalAuthority(below);
    await orders({ certificates: issue("orders"), enableMtls: undefined });
    const shop = await mesh.member("shop", {
      certificates: issue("shop"),
      enableMtls: undefined,
      ...atOnce(),
    });
    expect(await shop.ask(call, "{}")).toEqual(taken);
    expect(shop.log()).toContain("as spiffe://corp/ns/default/shop");
    const stranger = externalAuthority(below).issue("stranger");
    const other = await mesh.member("stranger", {
      certificates: stranger,
      enableMtls: undefined,
      ...atOnce(),
    });
    expect((await other.ask(call, "{}")).text).toContain(
      "signed by a root that is not in the trust bundle here",
    );
  });

test("intermediates that are missing or too many are told at the start", async () => {
  const start = (certificates: ReturnType<ReturnType<typeof externalAuthority>["issue"]>) =>
    mesh.member("shop", { certificates, enableMtls: undefined }).catch((error: Error) => error.message);
  const refused = "peers would refuse this mecha's own certificate: its";
  const missing = await start(externalAuthority(1).issue("shop", { isWhole: false }));
  expect(missing).toContain(
    `${refused} certificate is signed by a root that is not in the trust bundle here`,
  );
  expect(await start(externalAuthority(4).issue("shop"))).toContain(`${refused} chain is too long`);
});

test("intermediates that are replaced fail no call", async () => {
  const external = externalAuthority(1);
  const write = (appId: string, { root, issue }: ReturnType<typeof externalAuthority>, roots = root.cert) => {
    const { cert, key } = issue(appId);
    return Object.fromEntries(
      Object.entries({ ca: roots, cert: cert.text, key: key.text }).map(([name, text]) => {
        const file = join(mesh.folder, `${appId}.${name}`);
        writeFileSync(file, text);
        return [name, { file }];
      }),
    ) as unknown as ReturnType<typeof issueFiles>;
  };
  const shared = { enableMtls: undefined, logLevel: "debug" as const };
  const { member } = await orders({ certificates: write("orders", external), ...shared });
  const certificates = write("shop", external);
  const shop = await mesh.member("shop", { certificates, ...shared, ...atOnce() });
  const running = load(shop);
  const next = externalAuthority(2);
  const both = external.root.cert + next.root.cert;
  for (const [step, from] of [external, next].entries()) {
    for (const appId of ["orders", "shop"]) write(appId, from, both);
    for (const { log } of [member, shop])
      await until(() => log().split("was renewed").length > step + 1, "the new files", 20_000);
    const before = running.calls();
    await until(() => running.calls() > before + 50, "calls with them");
  }
  expect(await running.stop()).toEqual([]);
}, 60_000);

test("gRPC calls go the same way, with the name of the certificate", async () => {
  const callers: (string | undefined)[] = [];
  const server = createGrpcServer({
    // The runtime's own questions are for another service.
    lookup: (path) =>
      path !== "/test.Echo/Say"
        ? undefined
        : {
            kind: "unary",
            handle(request, context) {
              callers.push(context.get("dapr-caller-app-id"));
              return request;
            },
          },
  });
  const bound = await server.listen({ host: "127.0.0.1", port: 0 });
  closers.push(() => server.close());
  await mesh.member("orders", { appPort: (bound as { port: number }).port, appProtocol: "grpc" });
  const shop = await mesh.member("shop", atOnce());
  const client = createGrpcClient({ host: "127.0.0.1", port: shop.runtime.ports.grpc });
  closers.push(() => client.close());
  const said = Buffer.from("hello");
  const metadata: [string, string][] = [["dapr-app-id", "orders"]];
  for (let round = 0; round < 3; round++)
    expect(Buffer.from(await client.unary("/test.Echo/Say", said, { metadata })).toString()).toBe("hello");
  expect(callers).toEqual(["shop", "shop", "shop"]);
});

test("actors of another runtime are reached over mTLS", async () => {
  const app = await fakeApp({
    config: { entities: ["Cat"] },
    handlers: { "PUT /actors/Cat/tom/method/feed": () => ({ body: "fed" }) },
  });
  closers.push(() => app.close());
  await mesh.member("cats", { appPort: app.port });
  const shop = await mesh.member("shop");
  const feed = () => shop.ask("POST /v1.0/actors/Cat/tom/method/feed", "{}");
  await until(async () => (await feed()).text === "fed", "the cat", 20_000);
});

test("a port that another app has taken over is not believed to be the one before", async () => {
  const app = await ordersApp();
  const shop = await mesh.member("shop", atOnce());
  const first = await mesh.member("orders", { appPort: app.port });
  expect(await shop.ask(call, "{}")).toEqual(taken);
  const [record] = (await shop.host.registry.list()).filter(({ appId }) => appId === "orders");
  const { port, token } = record as { port: number; token: string };
  await first.close();
  // The other app is at the same address, and somebody announces it as orders, with its token.
  const thief = await fakeApp({ otherwise: () => ({ body: "stolen" }) });
  closers.push(() => thief.close());
  const other = await mesh.member("thief", { appPort: thief.port, internalGrpcPort: port });
  const name = { namespace: "default", appId: "orders", instanceId: "1" };
  const tls = { trustDomain: "public", isRequired: true };
  await other.host.registry.register({ ...name, host: "127.0.0.1", port, token, tls });
  const { text } = await shop.ask(call, "{}");
  const told =
    "its certificate names spiffe://public/ns/default/thief, and spiffe://public/ns/default/orders was meant";
  expect(text).toContain(told);
  expect(thief.requests).toHaveLength(0);
});
