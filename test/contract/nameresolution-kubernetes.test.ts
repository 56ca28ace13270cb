import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import type { NameResolver } from "../../src/component/name-resolver.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import kubernetes from "../../src/components/nameresolution/kubernetes.ts";
import { componentHost } from "./component-host.ts";
import { type DnsServer, startDns } from "./dns-server.ts";
import { addressesOf, nameResolverContract, wanted } from "./name-resolver.ts";

setDefaultTimeout(30_000);

type Fields = Record<string, string>;
function openWith(fields: Fields): Promise<NameResolver> {
  const { options } = parseOptions(kubernetes, new Map(Object.entries(fields)));
  return kubernetes.open(options as Parameters<typeof kubernetes.open>[0], componentHost());
}
const orders = "orders-dapr.default.svc.cluster.local";
const pods = ["10.1.0.7", "10.1.0.8", "fd00::7"];
const at = ({ port }: DnsServer, more: Fields = {}): Fields => ({ dnsServer: `127.0.0.1:${port}`, ...more });

nameResolverContract("nameresolution.kubernetes", { announces: false }, async () => {
  const server = await startDns({ [orders]: pods });
  return {
    join: () => openWith(at(server)),
    known: { app: wanted("orders"), addresses: pods.map((pod) => `${pod}:50002`) },
    close: server.close,
  };
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
async function start(names?: Record<string, string[]>): Promise<DnsServer> {
  const server = await startDns(names);
  closers.push(server.close);
  return server;
}

const forms: [string, Fields, string, string][] = [
  ["by default", {}, orders, "10.0.0.1:50002"],
  [
    "another domain",
    { clusterDomain: "corp.example" },
    "orders-dapr.default.svc.corp.example",
    "10.0.0.1:50002",
  ],
  [
    "a template",
    { template: "{{.ID}}.{{ .Namespace }}.mesh:{{- .Port -}}" },
    "orders.default.mesh",
    "10.0.0.1:50002",
  ],
  ["a template with a port", { template: "{{.ID}}.mesh:7" }, "orders.mesh", "10.0.0.1:7"],
  ["a template without a port", { template: "{{.ID}}.mesh" }, "orders.mesh", "10.0.0.1:50002"],
];
test.each(forms)("the name that is looked up: %s", async (_, fields, name, address) => {
  const server = await start({ [name]: ["10.0.0.1"] });
  const resolver = await openWith(at(server, fields));
  expect(await addressesOf(resolver, wanted("orders"))).toEqual([address]);
  expect(server.asked.sort()).toEqual([`A ${name}`, `AAAA ${name}`]);
});

test("namespaces are parts of the name", async () => {
  const server = await start({ "orders-dapr.far.svc.cluster.local": ["10.0.0.2"] });
  const resolver = await openWith(at(server));
  expect(await addressesOf(resolver, wanted("orders", "far"))).toEqual(["10.0.0.2:50002"]);
  expect(await addressesOf(resolver, wanted("orders"))).toEqual([]);
  expect(await resolver.find(wanted("orders", "a.b"))).toEqual([]);
});

test("a pod that is gone is not found at the next look", async () => {
  const server = await start({ [orders]: pods });
  const resolver = await openWith(at(server));
  expect(await addressesOf(resolver, wanted("orders"))).toHaveLength(3);
  server.zone.set(orders, ["10.1.0.8"]);
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["10.1.0.8:50002"]);
});

test("a server that does not answer is an error within its time", async () => {
  const server = await start({ [orders]: pods });
  server.isSilent = true;
  const resolver = await openWith(at(server));
  const error = await resolver.find(wanted("orders")).catch((why: Error) => why);
  expect((error as Error).message).toContain(`no answer of DNS for ${orders}`);
});

test("the system is asked where no server is named", async () => {
  const resolver = await openWith({ template: "localhost:{{.Port}}" });
  expect(await addressesOf(resolver, wanted("orders"))).toContain("127.0.0.1:50002");
  const nobody = await openWith({ template: "{{.ID}}.invalid" });
  expect(await nobody.find(wanted("orders"))).toEqual([]);
});

const refused: [string, Fields, string][] = [
  ["data in a template", { template: "{{.ID}}-{{.Data.region}}" }, "{{.Data.region}} is not implemented"],
  ["functions in a template", { template: "{{ printf .ID }}" }, "{{printf .ID}} is not implemented"],
  ["a template that is a URL", { template: "http://{{.ID}}" }, "is no host:port"],
  ["a server by its name", { dnsServer: "dns.example:53" }, "must be an IP address"],
];
test.each(refused)("nameresolution.kubernetes refuses %s", async (_, fields, message) => {
  const error = await Promise.resolve()
    .then(() => openWith(fields))
    .catch((why: Error) => why);
  expect((error as Error).message).toContain(message);
});
