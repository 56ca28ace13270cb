import { afterEach, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ComponentDefinition } from "../../src/component/component.ts";
import type { NameResolver } from "../../src/component/name-resolver.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import nameformat from "../../src/components/nameresolution/nameformat.ts";
import structuredformat from "../../src/components/nameresolution/structuredformat.ts";
import { componentHost, temporaryFolder } from "./component-host.ts";
import { addressesOf, nameResolverContract, wanted } from "./name-resolver.ts";

type Fields = Record<string, string>;
function openWith(definition: unknown, fields: Fields): Promise<NameResolver> {
  const { open, ...rest } = definition as ComponentDefinition<"nameresolution">;
  const { options } = parseOptions({ open, ...rest } as ComponentDefinition, new Map(Object.entries(fields)));
  return open(options as never, componentHost());
}
const nothing = async (): Promise<void> => {};

nameResolverContract("nameresolution.nameformat", { announces: false, knowsAll: true }, async () => ({
  join: () => openWith(nameformat, { format: "service-{appid}.example:7001" }),
  known: { app: wanted("orders"), addresses: ["service-orders.example:7001"] },
  close: nothing,
}));

const list = {
  appInstances: {
    orders: [
      { domain: "", ipv4: "127.0.0.1", ipv6: "", port: 4433, extendedInfo: { zone: "a" } },
      { ipv6: "::1", port: 4434 },
      { domain: "orders.example", port: 4435 },
    ],
  },
};
const addresses = ["127.0.0.1:4433", "::1:4434", "orders.example:4435"];
nameResolverContract("nameresolution.structuredformat", { announces: false }, async () => ({
  join: () => openWith(structuredformat, { structuredType: "jsonString", stringValue: JSON.stringify(list) }),
  known: { app: wanted("orders"), addresses },
  close: nothing,
}));

const formats: [string, string][] = [
  ["svc-{appid}", "svc-orders:50002"],
  ["{appid}.{appid}:80", "orders.orders:80"],
];
test.each(formats)("nameresolution.nameformat makes an address of %s", async (format, address) => {
  const resolver = await openWith(nameformat, { format });
  expect(await addressesOf(resolver, wanted("orders"))).toEqual([address]);
});

const refused: [string, unknown, Fields, string][] = [
  ["no format", nameformat, {}, "needs metadata field format"],
  ["a format without the id", nameformat, { format: "orders:1" }, "must contain the {appid} placeholder"],
  ["a format that is a URL", nameformat, { format: "http://{appid}/" }, "is no host:port"],
  ["no type", structuredformat, { stringValue: "{}" }, "needs metadata field structuredType"],
  ["another type", structuredformat, { structuredType: "toml" }, "expected one of jsonString"],
  ["no list", structuredformat, { structuredType: "jsonString" }, "stringValue is missing"],
  ["no file", structuredformat, { structuredType: "yamlFile" }, "filePath is missing"],
  ["a file that is not there", structuredformat, { structuredType: "yamlFile", filePath: "/none" }, "ENOENT"],
  ["no JSON", structuredformat, { structuredType: "jsonString", stringValue: "{" }, "JSON"],
  [
    "no apps",
    structuredformat,
    { structuredType: "jsonString", stringValue: "{}" },
    "appInstances is no object",
  ],
  ["no addresses", structuredformat, yaml("a: {}"), "appInstances.a is no list"],
  ["no port", structuredformat, yaml("a: [{ ipv4: 127.0.0.1 }]"), "appInstances.a[0].port is no port"],
  [
    "no host",
    structuredformat,
    yaml("a: [{ port: 1 }]"),
    "appInstances.a[0] has none of ipv4, ipv6 and domain",
  ],
  [
    "an unknown field",
    structuredformat,
    yaml("a: [{ host: x, port: 1 }]"),
    "appInstances.a[0].host is not known",
  ],
  ["a host with a path", structuredformat, yaml("a: [{ domain: x/y, port: 1 }]"), "is no host:port"],
];
function yaml(apps: string): Fields {
  return { structuredType: "yamlString", stringValue: `appInstances:\n  ${apps}\n` };
}
test.each(refused)("%s is refused", async (_, definition, fields, message) => {
  const error = await Promise.resolve()
    .then(() => openWith(definition, fields))
    .catch((why: Error) => why);
  expect((error as Error).message).toContain(message);
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

test("a file of addresses is read again when it is asked", async () => {
  const folder = await temporaryFolder();
  closers.push(folder.remove);
  const filePath = join(folder.path, "apps.yaml");
  await writeFile(filePath, "appInstances: { orders: [{ ipv4: 127.0.0.1, port: 1 }] }\n");
  const resolver = await openWith(structuredformat, { structuredType: "yamlFile", filePath });
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["127.0.0.1:1"]);
  await writeFile(filePath, "appInstances: { orders: [{ ipv4: 127.0.0.1, port: 2 }] }\n");
  expect(await addressesOf(resolver, wanted("orders"))).toEqual(["127.0.0.1:2"]);
  await writeFile(filePath, "appInstances: [");
  const error = await resolver.find(wanted("orders")).catch((why: Error) => why);
  expect(error).toBeInstanceOf(Error);
});
