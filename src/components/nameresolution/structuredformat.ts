import { parse } from "yaml";
import { component } from "../../component/component.ts";
import { choice, text } from "../../component/fields.ts";
import { type FoundAddress, type NameResolver, parseAddress } from "../../component/name-resolver.ts";
import type { Files } from "../../edges/files.ts";

/** Of a file: a change is seen after so long. Of a text: nothing changes. */
const freshOfFileMs = 1000;
const freshOfTextMs = 60_000;
const appsMax = 10_000;

export default component({
  type: "nameresolution.structuredformat",
  version: "v1",
  status: "alpha",
  summary: "A list of addresses by app id, as JSON or YAML, in the Configuration or in a file",
  metadata: {
    structuredType: choice(["jsonString", "yamlString", "jsonFile", "yamlFile"], {
      description: "where the list is, and how it is written",
      required: true,
    }),
    stringValue: text({ description: "the list, where structuredType is jsonString or yamlString" }),
    filePath: text({
      description:
        "the file of the list, where structuredType is jsonFile or yamlFile; a change is seen in a second",
    }),
  },
  async open({ structuredType, stringValue = "", filePath = "" }, { edges }): Promise<NameResolver> {
    const isFile = structuredType.endsWith("File");
    if (isFile && filePath === "") throw new Error(`filePath is missing (structuredType ${structuredType})`);
    if (!isFile && stringValue === "")
      throw new Error(`stringValue is missing (structuredType ${structuredType})`);
    const isJson = structuredType.startsWith("json");
    const read = (source: string): unknown => (isJson ? JSON.parse(source) : parse(source));
    const load = async (): Promise<Apps> =>
      appsOf(read(isFile ? await readText(edges.files, filePath) : stringValue));
    // What can not be read is told at once.
    let apps = await load();
    return {
      freshMs: isFile ? freshOfFileMs : freshOfTextMs,
      reach: "network",
      async find({ appId }) {
        if (isFile) apps = await load();
        return apps.get(appId) ?? [];
      },
      close: async () => {},
    };
  },
});

type Apps = ReadonlyMap<string, readonly FoundAddress[]>;

async function readText(files: Files, path: string): Promise<string> {
  return Buffer.from(await files.read(path)).toString("utf8");
}

/** `{appInstances: {app: [{domain, ipv4, ipv6, port}]}}`. Throws with the place of what is wrong. */
function appsOf(value: unknown): Apps {
  const apps = fieldsOf(fieldsOf(value, "the list").appInstances, "appInstances");
  const entries = Object.entries(apps);
  if (entries.length > appsMax) throw new Error(`appInstances has more than ${appsMax} apps`);
  return new Map(
    entries.map(([appId, instances]) => {
      const at = `appInstances.${appId}`;
      if (!Array.isArray(instances)) throw new Error(`${at} is no list`);
      return [appId, instances.map((instance, index) => addressOf(instance, `${at}[${index}]`))];
    }),
  );
}

const known = new Set(["domain", "ipv4", "ipv6", "port", "extendedInfo"]);

function addressOf(value: unknown, at: string): FoundAddress {
  const fields = fieldsOf(value, at);
  const stranger = Object.keys(fields).find((name) => !known.has(name));
  if (stranger !== undefined) throw new Error(`${at}.${stranger} is not known`);
  const { ipv4, ipv6, domain, port } = fields;
  const host = [ipv4, ipv6, domain].find((one) => typeof one === "string" && one !== "") as
    | string
    | undefined;
  if (host === undefined) throw new Error(`${at} has none of ipv4, ipv6 and domain`);
  if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535)
    throw new Error(`${at}.port is no port: ${JSON.stringify(port)}`);
  return { ...parseAddress(host, port as number), port: port as number };
}

function fieldsOf(value: unknown, at: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new Error(`${at} is no object`);
}
