import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { issueWorkload } from "../../src/control/identity/authority.ts";
import { realClock } from "../../src/edges/clock.ts";
import { openAuthority } from "../../src/host/identity.ts";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { createHttpClient } from "../../src/net/http1/index.ts";
import { SharedSecret } from "../../src/peer/shared-secret.ts";
import { fakeApp, until } from "../../src/testing/index.ts";
import { startConsul } from "../contract/consul-server.ts";
import { startDns } from "../contract/dns-server.ts";
import { freeUdpPort } from "../contract/free-udp-port.ts";
import { Cleanup, freePort, startMecha, startSidecar } from "../mecha-process.ts";
import type { Member } from "./identity-fixture.ts";
import { type Overrides, peerToken, Strangers, who } from "./names-fixture.ts";

// Whole runtimes, each with a data folder of its own, that find each other by spec.nameResolution alone.

setDefaultTimeout(60_000);

const strangers = new Strangers();
const cleanup = new Cleanup();
afterEach(async () => {
  await strangers.close();
  await cleanup.run();
});

const sqlite = (file: string) => ({
  component: "sqlite",
  configuration: { connectionString: file, updateInterval: "2s", timeout: "500ms" },
});
const multicast = (port: number) => ({
  component: "mdns",
  configuration: { interfaces: "127.0.0.1", port, ttl: "2s" },
});
const registered = (port: number) => ({
  component: "consul",
  configuration: {
    client: { address: `127.0.0.1:${port}` },
    ...{ selfRegister: true, selfDeregister: true, ttl: "2s", tags: ["dapr"], meta: { zone: "a" } },
  },
});
const onLoopback = ["--dapr-internal-grpc-listen-address", "127.0.0.1"];
const sharedFile = (): string => join(strangers.folder(), "names.db");
const by = (nameResolution: object, more: object = {}): Overrides => ({
  configPaths: strangers.config({ nameResolution, ...more }),
});
const quick = { policies: { retries: { DaprBuiltInServiceRetries: { policy: "constant", maxRetries: 0 } } } };

/** How runtimes `a` and `b` are started so that each finds the other. */
type Ground = () => Promise<{ a: Overrides; b: Overrides; ids: [string, string] }>;

const grounds: Record<string, Ground> = {
  async mdns() {
    const options = { ...by(multicast(await freeUdpPort())), internalGrpcListenAddress: "127.0.0.1" };
    return { a: options, b: options, ids: ["orders", "shop"] };
  },
  async consul() {
    const server = await startConsul();
    cleanup.add(() => server.close());
    const options = { ...by(registered(server.port)), internalGrpcListenAddress: "127.0.0.1" };
    return { a: options, b: options, ids: ["orders", "shop"] };
  },
  async sqlite() {
    const options = by(sqlite(sharedFile()));
    return { a: options, b: options, ids: ["orders", "shop"] };
  },
  async kubernetes() {
    const name = (appId: string) => `${appId}-dapr.default.svc.cluster.local`;
    const server = await startDns({ [name("orders")]: ["127.0.0.2"], [name("shop")]: ["127.0.0.3"] });
    cleanup.add(() => server.close());
    const options = by({ component: "kubernetes", configuration: { dnsServer: `127.0.0.1:${server.port}` } });
    const internalGrpcPort = await freePort();
    const at = (internalGrpcListenAddress: string) => ({
      ...options,
      internalGrpcPort,
      internalGrpcListenAddress,
    });
    return { a: at("127.0.0.2"), b: at("127.0.0.3"), ids: ["orders", "shop"] };
  },
  async nameformat() {
    // A number is all of the id that an address can be made of without a DNS server.
    const options = by({ component: "nameformat", configuration: { format: "127.0.0.{appid}" } });
    const internalGrpcPort = await freePort();
    const at = (internalGrpcListenAddress: string) => ({
      ...options,
      internalGrpcPort,
      internalGrpcListenAddress,
    });
    return { a: at("127.0.0.2"), b: at("127.0.0.3"), ids: ["2", "3"] };
  },
  async structuredformat() {
    const ports = [await freePort(), await freePort()];
    const appInstances = {
      orders: [{ ipv4: "127.0.0.1", port: ports[0] }],
      shop: [{ ipv4: "127.0.0.1", port: ports[1] }],
    };
    const stringValue = JSON.stringify({ appInstances });
    const options = by({
      component: "structuredformat",
      configuration: { structuredType: "jsonString", stringValue },
    });
    const at = (internalGrpcPort = 0) => ({
      ...options,
      internalGrpcPort,
      internalGrpcListenAddress: "127.0.0.1",
    });
    return { a: at(ports[0]), b: at(ports[1]), ids: ["orders", "shop"] };
  },
};

describe.each(Object.entries(grounds))("two runtimes with nothing in common but %s", (_, ground) => {
  test("call each other over HTTP, and are told who calls", async () => {
    const { a, b, ids } = await ground();
    const [one, other] = ids;
    const first = await strangers.serving("one", one, a);
    const second = await strangers.serving("other", other, b);
    expect(await first.ask(who(other), "{}")).toEqual({ status: 200, text: `other for ${one}` });
    expect(await second.ask(who(one), "{}")).toEqual({ status: 200, text: `one for ${other}` });
  });

  test("call each other over gRPC", async () => {
    const { a, b, ids } = await ground();
    const [one, other] = ids;
    const server = createGrpcServer({
      lookup: (path) =>
        path === "/test.Echo/Say" ? { kind: "unary", handle: (request) => request } : undefined,
    });
    const bound = await server.listen({ host: "127.0.0.1", port: 0 });
    cleanup.add(() => server.close());
    await strangers.member(one, { ...a, appPort: (bound as { port: number }).port, appProtocol: "grpc" });
    const caller = await strangers.member(other, b);
    const client = createGrpcClient({ host: "127.0.0.1", port: caller.runtime.ports.grpc });
    cleanup.add(() => client.close());
    const metadata: [string, string][] = [["dapr-app-id", one]];
    const said = await client.unary("/test.Echo/Say", Buffer.from("hello"), { metadata });
    expect(Buffer.from(said).toString()).toBe("hello");
  });
});

test("an app that nobody knows is Dapr's error", async () => {
  const shop = await strangers.member("shop", by(sqlite(sharedFile())));
  const { status, text } = await shop.ask(who("nobody"), "{}");
  expect([status, JSON.parse(text)]).toEqual([
    500,
    {
      errorCode: "ERR_DIRECT_INVOKE",
      message: "failed to invoke, id: nobody, err: couldn't find service: nobody",
    },
  ]);
});

test("several instances take turns", async () => {
  const options = by(sqlite(sharedFile()));
  for (const name of ["one", "two", "three"]) await strangers.serving(name, "orders", options);
  const shop = await strangers.member("shop", options);
  const names = new Map<string, number>();
  for (let call = 0; call < 30; call++) {
    const { text } = await shop.ask(who("orders"), "{}");
    names.set(text, (names.get(text) ?? 0) + 1);
  }
  expect([...names].sort()).toEqual([
    ["one for shop", 10],
    ["three for shop", 10],
    ["two for shop", 10],
  ]);
});

test("apps of one name in two namespaces are told apart", async () => {
  const options = by(sqlite(sharedFile()));
  await strangers.serving("ours", "orders", options);
  await strangers.serving("theirs", "orders", { ...options, namespace: "far" });
  const shop = await strangers.member("shop", options);
  expect((await shop.ask(who("orders"), "{}")).text).toBe("ours for shop");
  expect((await shop.ask(who("orders.far"), "{}")).text).toBe("theirs for shop");
});

const announcing: Record<string, () => Promise<object>> = {
  sqlite: async () => sqlite(sharedFile()),
  mdns: async () => multicast(await freeUdpPort()),
  consul: async () => {
    const server = await startConsul();
    cleanup.add(() => server.close());
    return registered(server.port);
  },
};

test.each(Object.entries(announcing))(
  "%s: a runtime killed with -9 is gone within its time, and calls go to the others meanwhile",
  async (_, ground) => {
    const nameResolution = await ground();
    const [config = ""] = strangers.config({ nameResolution });
    const app = await fakeApp({ handlers: { "POST /who": () => ({ body: "killed" }) } });
    cleanup.add(() => app.close());
    const started = await startSidecar({
      appId: "orders",
      resources: cleanup.folder(),
      data: cleanup.folder(),
      words: ["--config", config, "--app-port", String(app.port), ...onLoopback],
      env: { MECHA_PEER_TOKEN: peerToken },
    });
    cleanup.process(started.process);
    const options = { ...by(nameResolution), internalGrpcListenAddress: "127.0.0.1" };
    const shop = await strangers.member("shop", options);
    await until(async () => (await shop.ask(who("orders"), "{}")).text === "killed", "the process", 30_000);
    const left = await strangers.serving("left", "orders", options);
    const answers = new Set<string>();
    const ask = async () => answers.add((await shop.ask(who("orders"), "{}")).text);
    await until(async () => (await ask()).has("left for shop"), "the other", 20_000);
    started.process.child.kill("SIGKILL");
    await started.process.ended;
    answers.clear();
    // Nothing fails while the dead one is still listed: what was not reached is sent to another.
    const end = Date.now() + 2500;
    while (Date.now() < end) await ask();
    expect([...answers]).toEqual(["left for shop"]);
    await left.close();
    await until(
      async () => (await shop.ask(who("orders"), "{}")).text.includes("couldn't find service: orders"),
      "nobody is left",
      20_000,
    );
  },
);

describe("a runtime that others find without the registry", () => {
  test("does not start when nobody could prove who they are", async () => {
    const options = { ...by(sqlite(sharedFile())), peerToken: undefined };
    const error = await strangers.member("orders", options).catch((why: Error) => why);
    expect((error as Error).message).toBe(
      "spec.nameResolution.component sqlite: runtimes that are found by it can not prove who they are: give all of them one secret (MECHA_PEER_TOKEN, or --peer-token-file) or turn mTLS on with one authority",
    );
  });

  test("does not start with a field that nobody knows, or a component that there is not", async () => {
    const start = async (nameResolution: object) =>
      strangers.member("orders", by(nameResolution)).then(String, (why: Error) => why.message);
    const unknown = { ...sqlite(sharedFile()).configuration, tableNam: "x" };
    expect(await start({ component: "sqlite", configuration: unknown })).toMatch(
      /spec\.nameResolution \(nameresolution\.sqlite\/v1\): .*tableNam.*did you mean "?tableName/,
    );
    expect(await start({ component: "sqlit" })).toContain("did you mean nameresolution.sqlite?");
  });

  test("with daprd's flags uses the registry then, and says so", async () => {
    const options = { ...by(sqlite(sharedFile())), peerToken: undefined, isStrict: true };
    const shop = await strangers.member("shop", options);
    expect(shop.log()).toContain("so the registry of the data folder is used in its place");
  });

  test("does not take a secret that could be guessed", async () => {
    const options = { ...by(sqlite(sharedFile())), peerToken: "short" };
    const error = await strangers.member("orders", options).catch((why: Error) => why);
    expect((error as Error).message).toContain("has less than 16 characters");
    expect((error as Error).message).not.toContain("short");
  });

  test("lets nobody in who knows another secret", async () => {
    const options = by(sqlite(sharedFile()));
    await strangers.serving("one", "orders", options);
    const thief = await strangers.member("shop", { ...options, peerToken: "another secret of nobody" });
    const { status, text } = await thief.ask(who("orders"), "{}");
    expect([status, text]).toEqual([
      500,
      expect.stringContaining("this peer token is not mine, and no proof of the secret that runtimes share"),
    ]);
  });

  test("lets nobody in who shows nothing, or what was meant for somebody else", async () => {
    const options = by(sqlite(sharedFile()));
    const orders = await strangers.serving("one", "orders", options);
    const shop = await strangers.member("shop", options);
    expect((await shop.ask(who("orders"), "{}")).status).toBe(200);
    const proof = proofOfShop();
    expect(proof).not.toContain(peerToken);
    const say = (fields: Record<string, string>) => sayTo(orders, fields);
    expect(await say({ proof, app: "default/orders", caller: "shop" })).toBe(200);
    expect(await say({ proof, app: "default/orders", caller: "admin" })).toBe(500);
    expect(await say({ proof: "", app: "default/orders", caller: "shop" })).toBe(500);
    expect(await say({ proof: peerToken, app: "default/orders", caller: "shop" })).toBe(500);
    expect(await say({ proof, app: "default/orders", caller: "shop", call: "actor" })).toBe(500);
    const old = proof.replace(/^\d+/, (step) => String(Number(step) - 6));
    expect(await say({ proof: old, app: "default/orders", caller: "shop" })).toBe(500);
  });
});

function proofOfShop(): string {
  const caller = { appId: "shop", namespace: "default", trustDomain: "public" };
  const callee = { appId: "orders", namespace: "default" };
  return new SharedSecret(() => [peerToken], realClock).proofOf({ caller, callee });
}

async function sayTo(
  member: Member,
  { proof = "", app = "", caller = "", call = "" }: Record<string, string>,
): Promise<number> {
  const client = createHttpClient();
  cleanup.add(() => client.close());
  const reply = await client.request(
    { host: "127.0.0.1", port: member.runtime.ports.internal },
    {
      method: "POST",
      target: "/who",
      headers: [
        ...["mecha-peer-token", proof, "mecha-peer-app", app],
        ...["dapr-caller-app-id", caller, "dapr-caller-namespace", "default"],
        ...(call === "" ? [] : ["mecha-peer-call", call]),
      ],
      body: "{}",
    },
  );
  await reply.body.bytes(1 << 20);
  if (call === "actor")
    expect(reply.header("mecha-peer-message")).toContain("peers%20of%20the%20same%20store");
  return reply.status;
}

test("a secret is replaced without a call failing: second everywhere, then first, then alone", async () => {
  const folder = strangers.folder();
  const files = ["orders", "shop"].map((name) => join(folder, name));
  const write = (index: number, ...secrets: string[]) =>
    writeFileSync(files[index] ?? "", secrets.map((secret) => `${secret}\n`).join(""));
  const [old, next] = ["the-first-secret-of-all", "the-second-secret-of-all"];
  write(0, old);
  write(1, old);
  const options = by(sqlite(sharedFile()));
  const at = (index: number) => ({ ...options, peerToken: undefined, peerTokenFile: files[index] });
  const orders = await strangers.serving("one", "orders", at(0));
  const shop = await strangers.member("shop", at(1));
  const good = { status: 200, text: "one for shop" };
  const changed = (member: Member, times: number) =>
    until(() => member.log().split("have changed").length > times, "the new file", 20_000);
  expect(await shop.ask(who("orders"), "{}")).toEqual(good);
  write(0, old, next);
  await changed(orders, 1);
  expect(await shop.ask(who("orders"), "{}")).toEqual(good);
  write(1, next);
  await changed(shop, 1);
  expect(await shop.ask(who("orders"), "{}")).toEqual(good);
  write(0, next);
  await changed(orders, 2);
  expect(await shop.ask(who("orders"), "{}")).toEqual(good);
  write(1, old);
  await changed(shop, 2);
  expect((await shop.ask(who("orders"), "{}")).status).toBe(500);
  expect(orders.log() + shop.log()).not.toContain("secret-of-all");
});

test("the app is not told the secret of the runtimes", async () => {
  const started = startMecha(
    [
      "run",
      "--app-id",
      "orders",
      "--data-dir",
      cleanup.folder(),
      "--",
      "sh",
      "-c",
      'echo "told [$MECHA_PEER_TOKEN]"',
    ],
    { env: { MECHA_PEER_TOKEN: peerToken, PATH: process.env.PATH ?? "" } },
  );
  cleanup.process(started);
  await started.printed("told []");
});

test("with the registry a proof of the secret lets nobody in", async () => {
  const options = by(sqlite(sharedFile()));
  const shop = await strangers.member("shop", options);
  const withRegistry = await strangers.serving("one", "orders");
  await strangers.serving("two", "orders", options);
  expect((await shop.ask(who("orders"), "{}")).status).toBe(200);
  expect(await sayTo(withRegistry, { proof: proofOfShop(), app: "default/orders", caller: "shop" })).toBe(
    500,
  );
});

test("over mTLS with one authority no secret is needed, and the certificate is who calls", async () => {
  const authority = await openAuthority({
    ...{ dataFolder: strangers.folder(), env: {}, isShared: false },
    clock: realClock,
  }).open();
  const secured = (appId: string, more: Overrides = {}): Overrides => {
    const uri = `spiffe://public/ns/default/${appId}`;
    const pair = issueWorkload(authority, { uri, nowMs: Date.now(), lifeMs: 3_600_000, skewMs: 60_000 });
    const folder = strangers.folder();
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return { file: join(folder, name) };
    };
    const ca = authority.roots.map(({ pair: { cert } }) => cert).join("");
    const certificates = { ca: file("ca", ca), cert: file("crt", pair.cert), key: file("key", pair.key) };
    return { enableMtls: undefined, certificates, peerToken: undefined, ...more };
  };
  const file = sharedFile();
  const accessControl = {
    defaultAction: "deny",
    trustDomain: "public",
    policies: [{ appId: "shop", defaultAction: "allow", trustDomain: "public", namespace: "default" }],
  };
  await strangers.serving("one", "orders", secured("orders", by(sqlite(file), { accessControl })));
  const shop = await strangers.member("shop", secured("shop", by(sqlite(file))));
  const cook = await strangers.member("cook", secured("cook", by(sqlite(file))));
  expect(await shop.ask(who("orders"), "{}")).toEqual({ status: 200, text: "one for shop" });
  expect((await cook.ask(who("orders"), "{}")).status).toBe(403);
  const resourcesPaths = strangers.resiliency(quick);
  const plain = await strangers.member("shop", { ...by(sqlite(file)), resourcesPaths });
  expect((await plain.ask(who("orders"), "{}")).status).toBe(500);
});

test("a changed spec.nameResolution is used without a restart, and a bad one changes nothing", async () => {
  const [here, there] = [sharedFile(), sharedFile()];
  await strangers.serving("here", "orders", by(sqlite(here)));
  await strangers.serving("there", "orders", by(sqlite(there)));
  const configPaths = strangers.config({ nameResolution: sqlite(here) });
  const shop = await strangers.serving("shop", "shop", { configPaths });
  const reader = await strangers.member("reader", by(sqlite(there)));
  const answers = async (text: string) =>
    until(async () => (await shop.ask(who("orders"), "{}")).text === text, text, 20_000);
  await answers("here for shop");
  const write = (nameResolution: object | undefined) => {
    const spec = nameResolution === undefined ? {} : { nameResolution };
    const resource = { apiVersion: "dapr.io/v1alpha1", kind: "Configuration", metadata: { name: "c" }, spec };
    writeFileSync(configPaths[0] ?? "", JSON.stringify(resource));
  };
  write({ component: "sqlite", configuration: { connectionString: "/none/names.db" } });
  await until(
    () => shop.log().includes("the changed spec.nameResolution can not be used"),
    "the log",
    20_000,
  );
  await answers("here for shop");
  write(sqlite(there));
  await answers("there for shop");
  expect((await reader.ask(who("shop"), "{}")).text).toBe("shop for reader");
  write(undefined);
  await until(async () => (await shop.ask(who("orders"), "{}")).status === 500, "nobody is found", 20_000);
});
