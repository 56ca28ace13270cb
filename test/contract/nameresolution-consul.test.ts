import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ComponentDefinition } from "../../src/component/component.ts";
import type { AnnouncedRuntime, NameResolver } from "../../src/component/name-resolver.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { isUnreachable } from "../../src/component/unreachable.ts";
import consul from "../../src/components/nameresolution/consul.ts";
import { type Edges, realEdges } from "../../src/edges/edges.ts";
import { componentHost, eventually, temporaryFolder } from "./component-host.ts";
import { type ConsulServer, startConsul } from "./consul-server.ts";
import { addressesOf, nameResolverContract, wanted } from "./name-resolver.ts";
import { tlsFiles } from "./tls-files.ts";

setDefaultTimeout(30_000);

type Fields = Record<string, string>;
function openWith(
  fields: Fields,
  edges: Edges = realEdges(),
  env: Record<string, string> = {},
): Promise<NameResolver> {
  const values = new Map(Object.entries(fields));
  const { options, unknown } = parseOptions(consul as ComponentDefinition, values);
  const otherFields = new Map(unknown.map(({ field }) => [field, values.get(field) ?? ""]));
  return consul.open(options as never, componentHost({ edges, env, otherFields }));
}
const at = ({ port }: ConsulServer, more: Fields = {}): Fields => ({
  "client.address": `127.0.0.1:${port}`,
  ...{ selfRegister: "true", selfDeregister: "true", ttl: "1s" },
  ...more,
});

nameResolverContract("nameresolution.consul", { announces: true }, async () => {
  const server = await startConsul();
  return { join: (edges) => openWith(at(server), edges), close: server.close };
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(options?: Parameters<typeof startConsul>[0]): Promise<ConsulServer> {
  const server = await startConsul(options);
  closers.push(() => server.close());
  return server;
}
async function open(fields: Fields, env: Record<string, string> = {}): Promise<NameResolver> {
  const resolver = await openWith(fields, realEdges(), env);
  closers.push(() => resolver.close());
  return resolver;
}
const self: AnnouncedRuntime = {
  ...{ appId: "orders", namespace: "default", host: "127.0.0.1" },
  ...{ port: 7001, httpPort: 3500, appPort: 3000 },
};

test("a service is registered as Dapr's, with a check that is reported to", async () => {
  const server = await start();
  const resolver = await open(
    at(server, { tags: '["dapr","v1"]', "meta.zone": "a", daprPortMetaKey: "PEER" }),
  );
  await resolver.announce?.(self);
  expect(server.services.get("orders-127.0.0.1-3500")).toMatchObject({
    ...{ Name: "orders", Address: "127.0.0.1", Port: 3000, Tags: ["dapr", "v1"] },
    Meta: { zone: "a", PEER: "7001", DAPR_NAMESPACE: "default" },
    checks: [{ id: "daprHealth:orders-127.0.0.1-3500", ttlMs: 1000, status: "passing" }],
  });
});

test("checks of the user's take the place of the own one, their names spelled as Consul does", async () => {
  const server = await start();
  const checks = JSON.stringify([{ name: "up", checkId: "c", interval: "15s", http: "http://127.0.0.1:1/" }]);
  const resolver = await open(at(server, { checks }));
  await resolver.announce?.(self);
  const [service] = server.services.values();
  expect(service?.checks).toMatchObject([{ id: "c", ttlMs: undefined }]);
});

test("a service that others have registered is found by its meta, or by the address of its node", async () => {
  const server = await start();
  const put = (ID: string, fields: object) =>
    server.services.set(ID, { ID, Name: "orders", checks: [], Meta: { DAPR_PORT: "7" }, ...fields });
  put("a", { Address: "10.0.0.1" });
  put("b", {});
  put("c", { Address: "not a host!" });
  put("d", { Meta: { DAPR_PORT: "7", DAPR_NAMESPACE: "other" } });
  put("e", { checks: [{ id: "x", status: "warning", ttlMs: undefined, reportedAtMs: 0 }] });
  const resolver = await open({ "client.address": `127.0.0.1:${server.port}` });
  expect(resolver.announce).toBeUndefined();
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["10.0.0.1:7", "127.0.0.9:7"]);
  server.services.clear();
  put("a", { Meta: {} });
  const error = await resolver.find(wanted("orders")).catch((why: Error) => why);
  expect((error as Error).message).toBe(
    "target service AppID 'orders' found but DAPR_PORT missing from meta",
  );
});

test("queries say what queryOptions say", async () => {
  const server = await start();
  const asked = async (fields: Fields) => {
    const resolver = await open({ "client.address": `127.0.0.1:${server.port}`, ...fields });
    await resolver.find(wanted("or ders"));
    return server.asked.at(-1);
  };
  const path = "GET /v1/health/service/or%20ders?passing=1";
  expect(await asked({})).toBe(`${path}&cached`);
  expect(await asked({ "client.datacenter": "dc1" })).toBe(`${path}&dc=dc1&cached`);
  expect(await asked({ "queryOptions.filter": 'a == "b"', "queryOptions.allowStale": "true" })).toBe(
    `${path}&filter=a%20%3D%3D%20%22b%22&stale`,
  );
  const named = {
    "queryOptions.datacenter": "dc2",
    "queryOptions.namespace": "n",
    "queryOptions.near": "_agent",
  };
  expect(await asked({ ...named, "queryOptions.useCache": "true" })).toBe(
    `${path}&dc=dc2&ns=n&near=_agent&cached`,
  );
});

test("tokens come from the Configuration, a file or the environment, and queries may have another", async () => {
  const server = await start();
  server.token = "secret";
  const plain = { "client.address": `127.0.0.1:${server.port}` };
  const refused = await openWith(plain).catch((why: Error) => why);
  expect((refused as Error).message).toContain("answered 403: Permission denied");
  const folder = await temporaryFolder();
  closers.push(folder.remove);
  const file = join(folder.path, "token");
  await writeFile(file, "secret\n");
  await open({ ...plain, "client.token": "secret" });
  await open({ ...plain, "client.tokenFile": file });
  await open(plain, { CONSUL_HTTP_TOKEN: "secret" });
  await open({}, { CONSUL_HTTP_TOKEN: "secret", CONSUL_HTTP_ADDR: `127.0.0.1:${server.port}` });
  const other = await open({ ...plain, "client.token": "secret", "queryOptions.token": "reader" });
  const error = await other.find(wanted("orders")).catch((why: Error) => why);
  expect((error as Error).message).toContain("answered 403");
  const basic = { "client.httpAuth.username": "me", "client.httpAuth.password": "pass" };
  await open({ ...plain, "client.token": "secret", ...basic });
  expect(server.headers.authorization).toBe(`Basic ${Buffer.from("me:pass").toString("base64")}`);
});

test("https takes the agent's certificate of the named authority, and no other", async () => {
  const files = await tlsFiles();
  closers.push(files.remove);
  const server = await start({ tls: files.leaf });
  const fields = { "client.address": `localhost:${server.port}`, "client.scheme": "https" };
  const { tlsCa } = files.paths;
  await open({ ...fields, "client.tlsConfig.caFile": tlsCa });
  await open({ ...fields, "client.tlsConfig.insecureSkipVerify": "true" });
  expect(await openWith(fields).catch((why: Error) => why)).toBeInstanceOf(Error);
  const wrongName = { "client.tlsConfig.caFile": tlsCa, "client.tlsConfig.address": "elsewhere" };
  expect(await openWith({ ...fields, ...wrongName }).catch((why: Error) => why)).toBeInstanceOf(Error);
});

test("an agent that is away is an error within its time, and a service it forgot is registered again", async () => {
  const server = await start();
  const resolver = await open(at(server, { timeout: "200ms", ttl: "600ms" }));
  await resolver.announce?.(self);
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["127.0.0.1:7001"]);
  server.forget();
  await eventually("it is there again", async () => server.services.size === 1);
  server.isFrozen = true;
  const late = await resolver.find(wanted("orders")).catch((why: Error) => why);
  expect((late as Error).message).toContain("no answer within 200 ms");
  expect(isUnreachable(late)).toBe(true);
  const never = await openWith(at(server, { timeout: "100ms" })).catch((why: Error) => why);
  expect(isUnreachable(never)).toBe(true);
  server.isFrozen = false;
  await eventually("it passes again", async () => (await resolver.find(wanted("orders"))).length === 1);
});

test("an agent that was killed and came back without its data has the service again", async () => {
  const first = await start();
  const resolver = await open(at(first, { timeout: "500ms", ttl: "600ms" }));
  await resolver.announce?.(self);
  await first.close();
  const error = await resolver.find(wanted("orders")).catch((why: Error) => why);
  expect(isUnreachable(error)).toBe(true);
  const second = await start({ port: first.port });
  await eventually("it is registered", async () => second.services.size === 1);
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["127.0.0.1:7001"]);
});

test("without selfDeregister a runtime that ends stays a service, which is critical at once", async () => {
  const server = await start();
  const resolver = await open(at(server, { selfDeregister: "false", ttl: "60s" }));
  const announcement = await resolver.announce?.(self);
  await announcement?.close();
  expect([...server.services.keys()]).toEqual(["orders-127.0.0.1-3500"]);
  expect(await resolver.find(wanted("orders"))).toEqual([]);
});

const refused: [string, Fields, string][] = [
  ["another scheme", { "client.scheme": "unix" }, "expected one of http, https"],
  ["an address that is none", { "client.address": "a b" }, "is no address"],
  ["a field of nobody's", { selfRegistr: "true" }, "configuration field selfRegistr is not known"],
  [
    "a registration of one's own",
    { "advancedRegistration.name": "x" },
    "use selfRegister with checks, tags and meta",
  ],
  [
    "blocking queries",
    { "queryOptions.waitTime": "5" },
    "queryOptions.waitTime of nameresolution.consul is not implemented",
  ],
  ["tags that are no list", { tags: '"a"' }, "tags must be a list of texts"],
  ["checks that are no list", { checks: "{}" }, "checks must be a list"],
  ["a check with an unknown field", { checks: '[{"htp":"x"}]' }, "checks[0].htp is not known"],
  [
    "a certificate without its key",
    { "client.scheme": "https", "client.tlsConfig.certFile": "/etc/hostname" },
    "belong together",
  ],
  [
    "a file that is not there",
    { "client.scheme": "https", "client.tlsConfig.caFile": "/none" },
    "couldn't read client.tlsConfig.caFile /none",
  ],
];
test.each(refused)("nameresolution.consul refuses %s", async (_, fields, message) => {
  const error = await Promise.resolve()
    .then(() => openWith(fields))
    .catch((why: Error) => why);
  expect((error as Error).message).toContain(message);
});
