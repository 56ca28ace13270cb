import dns from "node:dns";
import net from "node:net";
import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import {
  type FoundAddress,
  isNamePart,
  type NameResolver,
  parseAddress,
  type WantedApp,
} from "../../component/name-resolver.ts";
import { ServerUnavailable } from "../../component/server-unavailable.ts";
import { withinTime } from "../../component/within-time.ts";
import type { Clock } from "../../edges/clock.ts";

/** How long the DNS of a cluster itself keeps an answer. */
const freshMs = 5_000;
const tryMs = 1_000;
const tries = 2;
/** For an answer, whoever is asked: the system may try for longer. */
const answerMs = 5_000;

export default component({
  type: "nameresolution.kubernetes",
  version: "v1",
  status: "beta",
  summary: "Headless services of Kubernetes, by the DNS of the cluster",
  metadata: {
    clusterDomain: text({ description: "domain of the cluster", default: "cluster.local" }),
    template: text({
      description:
        "the address instead of {{.ID}}-dapr.{{.Namespace}}.svc.DOMAIN:{{.Port}}; .Port is the caller's own internal port",
    }),
    dnsServer: text({ description: "host:port of the DNS server to ask instead of the system's; mecha's" }),
  },
  async open({ clusterDomain, template, dnsServer }, { edges }): Promise<NameResolver> {
    const domain = clusterDomain || "cluster.local";
    const pattern = template || `{{.ID}}-dapr.{{.Namespace}}.svc.${domain}:{{.Port}}`;
    // What can not be an address is told at once.
    filled(pattern, { appId: "app", namespace: "default", port: 1 });
    const lookUp = dnsServer ? lookUpAt(dnsServer) : lookUpBySystem;
    return {
      freshMs,
      reach: "network",
      async find(app) {
        if (!isNamePart(app.appId) || !isNamePart(app.namespace)) return [];
        const { host, port } = filled(pattern, app);
        const addresses = net.isIP(host) ? [host] : await answerOf(host, edges.clock, lookUp(host));
        return [...addresses].sort().map((address): FoundAddress => ({ host: address, port }));
      },
      close: async () => {},
    };
  },
});

/** Go's template language, as far as an address needs it. */
function filled(pattern: string, { appId, namespace, port }: WantedApp): FoundAddress {
  const values: Record<string, string> = { ID: appId, Namespace: namespace, Port: String(port) };
  const address = pattern.replace(/\{\{-?\s*(.*?)\s*-?\}\}/g, (_, expression: string) => {
    const value = expression.startsWith(".") ? values[expression.slice(1)] : undefined;
    if (value === undefined)
      throw new Error(
        `template: {{${expression}}} is not implemented: write {{.ID}}, {{.Namespace}} or {{.Port}}`,
      );
    return value;
  });
  return parseAddress(address, port);
}

type LookUp = (name: string) => Promise<readonly string[]>;

/** That there is no such name is an answer; that nobody answers is none. */
async function answerOf(
  name: string,
  clock: Clock,
  looking: Promise<readonly string[]>,
): Promise<readonly string[]> {
  try {
    return await withinTime(clock, answerMs, looking);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ServerUnavailable(`no answer of DNS for ${name}: ${code ?? message}`, "undone", error);
  }
}

const lookUpBySystem: LookUp = async (name) => {
  const found = await dns.promises.lookup(name, { all: true }).catch(noneOrThrow);
  return [...new Set(found.map(({ address }) => address))];
};

function lookUpAt(server: string): LookUp {
  const { host, port } = parseAddress(server, 53);
  if (!net.isIP(host)) throw new Error(`dnsServer ${server} must be an IP address`);
  const resolver = new dns.promises.Resolver({ timeout: tryMs, tries });
  resolver.setServers([net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`]);
  return async (name) => {
    const [ipv4, ipv6] = await Promise.all([
      resolver.resolve4(name).catch(noneOrThrow),
      resolver.resolve6(name).catch(noneOrThrow),
    ]);
    return [...ipv4, ...ipv6];
  };
}

function noneOrThrow(error: NodeJS.ErrnoException): never[] {
  if (error.code === "ENOTFOUND" || error.code === "ENODATA") return [];
  throw error;
}
