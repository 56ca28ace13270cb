import { type ComponentHost, component } from "../../component/component.ts";
import { choice, duration, flag, json, type Options, text } from "../../component/fields.ts";
import {
  type AnnouncedRuntime,
  type Announcement,
  type FoundAddress,
  type NameResolver,
  parseAddress,
  type WantedApp,
} from "../../component/name-resolver.ts";
import type { ClockTimer } from "../../edges/clock.ts";
import type { Files } from "../../edges/files.ts";
import { messageOf } from "../../kit/message-of.ts";
import type { HttpTls } from "../../net/http1/types.ts";
import { ConsulAgent, type ConsulService } from "../clients/consul.ts";
import { checkHttpUrl } from "../clients/http-server.ts";

const notDone = (why: string) => text({ description: "", missing: why });
const noBlocking = notDone("no query waits for a change; the list is asked for again after a second");

const fields = {
  selfRegister: flag({ description: "register this runtime as a service at the agent", default: false }),
  selfDeregister: flag({
    description: "remove the service when the runtime ends; false: it stays, as critical",
    default: false,
  }),
  daprPortMetaKey: text({
    description: "key of a service's meta that has the internal port",
    default: "DAPR_PORT",
  }),
  checks: json({
    description:
      "checks of the service, in Consul's names; by default one that this runtime reports to (ttl)",
  }),
  tags: json({ description: "list of the service's tags" }),
  ttl: duration({
    description:
      "a runtime that has not reported for so long is critical, where checks is not given; mecha's",
    default: 15_000,
    min: 500,
    max: 3_600_000,
  }),
  timeout: duration({
    description: "longest wait for an answer; mecha's",
    default: 2_000,
    min: 50,
    max: 60_000,
  }),
  useCache: flag({
    description: "as in Dapr; what was found is used for a second either way",
    default: false,
  }),
  "client.address": text({
    description: "host:port of the agent; by default $CONSUL_HTTP_ADDR or 127.0.0.1:8500",
  }),
  "client.scheme": choice(["http", "https"], { description: "how the agent is spoken to", default: "http" }),
  "client.datacenter": text({ description: "datacenter of queries, where queryOptions names none" }),
  "client.token": text({ description: "ACL token; by default $CONSUL_HTTP_TOKEN", sensitive: true }),
  "client.tokenFile": text({ description: "file of the ACL token, read for each request" }),
  "client.httpAuth.username": text({ description: "user of basic authentication" }),
  "client.httpAuth.password": text({ description: "password of basic authentication", sensitive: true }),
  "client.waitTime": noBlocking,
  "client.tlsConfig.address": text({ description: "name that the agent's certificate has to have" }),
  "client.tlsConfig.caFile": text({ description: "file of the certificates that may sign the agent's" }),
  "client.tlsConfig.caPath": notDone("put the certificates into one file, caFile"),
  "client.tlsConfig.certFile": text({ description: "certificate of this runtime, PEM" }),
  "client.tlsConfig.keyFile": text({ description: "its key, PEM" }),
  "client.tlsConfig.insecureSkipVerify": flag({ description: "take any certificate", default: false }),
  "queryOptions.datacenter": text({ description: "datacenter of queries" }),
  "queryOptions.namespace": text({ description: "namespace of Consul (Enterprise)" }),
  "queryOptions.partition": text({ description: "partition of Consul (Enterprise)" }),
  "queryOptions.token": text({ description: "ACL token of queries", sensitive: true }),
  "queryOptions.filter": text({ description: "expression that services have to fit" }),
  "queryOptions.near": text({ description: "node whose neighbours come first" }),
  "queryOptions.allowStale": flag({ description: "any server may answer", default: false }),
  "queryOptions.requireConsistent": flag({ description: "the leader asks the others first", default: false }),
  "queryOptions.useCache": flag({
    description: "the agent may answer of its cache; true where nothing else of queryOptions is given",
  }),
  "queryOptions.maxAge": notDone("leave useCache out where answers may not be old"),
  "queryOptions.staleIfError": notDone("what was found before is used by itself"),
  "queryOptions.waitIndex": noBlocking,
  "queryOptions.waitHash": noBlocking,
  "queryOptions.waitTime": noBlocking,
  "queryOptions.relayFactor": notDone("it is for Consul's keyring"),
  "queryOptions.localOnly": notDone("it is for Consul's keyring"),
  "queryOptions.connect": notDone("calls do not go through Consul Connect"),
};

type Settings = Options<typeof fields>;

export default component({
  type: "nameresolution.consul",
  version: "v1",
  status: "alpha",
  summary: "Services of HashiCorp Consul. Tested against a stand-in of its HTTP API, not against Consul",
  metadata: fields,
  takesOtherFields: true,
  async open(settings, host): Promise<NameResolver> {
    const meta = metaOf(host.otherFields ?? new Map());
    const { edges, env, log } = host;
    const url = `${settings["client.scheme"]}://${settings["client.address"] || env.CONSUL_HTTP_ADDR || "127.0.0.1:8500"}`;
    checkHttpUrl("client.address", url);
    if (settings["client.tlsConfig.insecureSkipVerify"])
      log.warn({}, "consul: insecureSkipVerify takes any certificate of the agent");
    const options = {
      ...{ url, tls: await tlsOf(settings, edges.files), headers: authorizationOf(settings) },
      ...{ timeoutMs: settings.timeout, clock: edges.clock },
    };
    const own = tokenOf(settings, host);
    const agent = new ConsulAgent({ ...options, token: own });
    const queryToken = settings["queryOptions.token"];
    const reader = queryToken ? new ConsulAgent({ ...options, token: async () => queryToken }) : agent;
    try {
      const service = { tags: textsOf("tags", settings.tags), checks: checksOf(settings.checks), meta };
      await agent.check();
      return new ConsulResolver({ agent, reader, settings, service, host });
    } catch (error) {
      agent.close();
      if (reader !== agent) reader.close();
      throw error;
    }
  },
});

const freshMs = 1000;
/** So often is a check reported to within its time. */
const reportsPerTtl = 3;
/** Of the runtime; a service that others register may leave it out. */
const namespaceKey = "DAPR_NAMESPACE";

interface Parts {
  agent: ConsulAgent;
  /** For queries: they may have a token of their own. */
  reader: ConsulAgent;
  settings: Settings;
  service: ServiceTraits;
  host: ComponentHost;
}

interface ServiceTraits {
  tags: readonly string[];
  checks: readonly Record<string, unknown>[] | undefined;
  meta: Record<string, string>;
}

class ConsulResolver implements NameResolver {
  readonly freshMs = freshMs;
  readonly reach = "network";
  readonly announce: NameResolver["announce"];
  readonly #parts: Parts;
  readonly #query: string;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#query = queryOf(parts.settings);
    if (parts.settings.selfRegister) this.announce = (self) => this.#register(self);
  }

  async find({ appId, namespace }: WantedApp): Promise<readonly FoundAddress[]> {
    if (appId === "") return [];
    const { reader, settings } = this.#parts;
    const key = settings.daprPortMetaKey;
    const entries = (await reader.healthy(appId, this.#query)).filter(
      ({ meta }) => meta[namespaceKey] === undefined || meta[namespaceKey] === namespace,
    );
    const found = entries.flatMap(({ address, meta }) => addressOf(address, Number(meta[key])));
    // The text is Dapr's.
    if (found.length === 0 && entries.length > 0)
      throw new Error(`target service AppID '${appId}' found but ${key} missing from meta`);
    return found;
  }

  async close(): Promise<void> {
    this.#parts.agent.close();
    this.#parts.reader.close();
  }

  async #register(self: AnnouncedRuntime): Promise<Announcement> {
    const service = new RegisteredService(self, this.#parts);
    await service.open();
    return service;
  }
}

/** This runtime as a service of the agent. */
class RegisteredService implements Announcement {
  readonly #parts: Parts;
  readonly #service: ConsulService;
  /** The check that is reported to; `undefined`: others check. */
  readonly #checkId: string | undefined;
  #timer: ClockTimer | undefined;
  #isClosed = false;

  constructor(self: AnnouncedRuntime, parts: Parts) {
    const { settings, service } = parts;
    const { appId, namespace, host, port, httpPort, appPort } = self;
    const id = `${appId}-${host}-${httpPort || port}`;
    this.#parts = parts;
    this.#checkId = service.checks === undefined ? `daprHealth:${id}` : undefined;
    const own = {
      Name: "Dapr Health Status",
      CheckID: this.#checkId,
      TTL: `${settings.ttl}ms`,
      Status: "passing",
    };
    this.#service = {
      ...{ ID: id, Name: appId, Address: host, Port: appPort, Tags: service.tags },
      Meta: { ...service.meta, [settings.daprPortMetaKey]: String(port), [namespaceKey]: namespace },
      Checks: service.checks ?? [own],
    };
  }

  async open(): Promise<void> {
    await this.#parts.agent.register(this.#service);
    this.#reportLater();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    const { agent, settings } = this.#parts;
    if (settings.selfDeregister) await agent.deregister(this.#service.ID);
    else if (this.#checkId !== undefined) await agent.report(this.#checkId, "fail");
  }

  #reportLater(): void {
    const { host, settings } = this.#parts;
    if (this.#checkId === undefined) return;
    const report = (): void => {
      if (this.#isClosed) return;
      this.#reportLater();
      this.#report().catch((error: unknown) => {
        if (!this.#isClosed) host.log.warn({ error }, "could not report to this app's check at consul");
      });
    };
    this.#timer = host.edges.clock.setTimer(settings.ttl / reportsPerTtl, report, { background: true });
  }

  /** An agent that was started anew may have forgotten it. */
  async #report(): Promise<void> {
    const { agent } = this.#parts;
    if (this.#checkId === undefined || (await agent.report(this.#checkId, "pass")) || this.#isClosed) return;
    await agent.register(this.#service);
  }
}

/** None where a service says nothing that could be called. */
function addressOf(address: string, port: number): FoundAddress[] {
  try {
    return [parseAddress(address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`, 0)];
  } catch {
    return [];
  }
}

function queryOf(settings: Settings): string {
  const named = {
    dc: settings["queryOptions.datacenter"] || settings["client.datacenter"],
    ns: settings["queryOptions.namespace"],
    partition: settings["queryOptions.partition"],
    filter: settings["queryOptions.filter"],
    near: settings["queryOptions.near"],
  };
  const isNothingGiven = Object.entries(settings).every(
    ([name, value]) => !name.startsWith("queryOptions.") || value === undefined || value === false,
  );
  const switched = {
    stale: settings["queryOptions.allowStale"],
    consistent: settings["queryOptions.requireConsistent"],
    cached: settings["queryOptions.useCache"] ?? isNothingGiven,
  };
  const texts = Object.entries(named).filter(([, value]) => value);
  const flags = Object.entries(switched).filter(([, isOn]) => isOn);
  return [
    ...texts.map(([name, value]) => `&${name}=${encodeURIComponent(value ?? "")}`),
    ...flags.map(([name]) => `&${name}`),
  ].join("");
}

/** What is nested in `meta` has names of the user's; anything else that no field is for is a mistake. */
function metaOf(others: ReadonlyMap<string, string>): Record<string, string> {
  const meta: Record<string, string> = {};
  for (const [name, value] of others) {
    if (/^advancedRegistration\b/i.test(name))
      throw new Error(`${name} is not implemented: use selfRegister with checks, tags and meta`);
    if (!/^meta\./i.test(name))
      throw new Error(`configuration field ${name} is not known to nameresolution.consul`);
    meta[name.slice("meta.".length)] = value;
  }
  return meta;
}

function textsOf(field: string, value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return value;
  throw new Error(`${field} must be a list of texts`);
}

const checkFields = new Map(
  [
    ...[
      "Args",
      "CheckID",
      "Name",
      "DockerContainerID",
      "Shell",
      "Interval",
      "Timeout",
      "TTL",
      "HTTP",
      "Method",
    ],
    ...["TCP", "Status", "Notes", "GRPC", "AliasNode", "AliasService", "DeregisterCriticalServiceAfter"],
    ...["Header", "TLSSkipVerify", "GRPCUseTLS"],
  ].map((name) => [name.toLowerCase(), name]),
);

/** With the names spelled as Consul does; Dapr takes them without case. */
function checksOf(value: unknown): Record<string, unknown>[] | undefined {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return undefined;
  if (!Array.isArray(value)) throw new Error("checks must be a list");
  return value.map((check: unknown, index) => {
    if (typeof check !== "object" || check === null) throw new Error(`checks[${index}] is no object`);
    const entries = Object.entries(check).map(([name, one]) => {
      const spelled = checkFields.get(name.toLowerCase());
      if (spelled === undefined) throw new Error(`checks[${index}].${name} is not known`);
      return [spelled, one];
    });
    return Object.fromEntries(entries) as Record<string, unknown>;
  });
}

function tokenOf(settings: Settings, { edges, env }: ComponentHost): () => Promise<string | undefined> {
  const path = settings["client.tokenFile"];
  const fixed = settings["client.token"] || env.CONSUL_HTTP_TOKEN || undefined;
  if (fixed !== undefined || !path) return async () => fixed;
  return async () => (await readText("client.tokenFile", path, edges.files)).trim();
}

function authorizationOf(settings: Settings): Record<string, string> {
  const user = settings["client.httpAuth.username"];
  if (!user) return {};
  const pair = `${user}:${settings["client.httpAuth.password"] ?? ""}`;
  return { Authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}

async function tlsOf(settings: Settings, files: Files): Promise<HttpTls | undefined> {
  if (settings["client.scheme"] !== "https") return undefined;
  const file = async (name: "caFile" | "certFile" | "keyFile"): Promise<string | undefined> => {
    const path = settings[`client.tlsConfig.${name}`];
    return path ? readText(`client.tlsConfig.${name}`, path, files) : undefined;
  };
  const [ca, cert, key] = await Promise.all([file("caFile"), file("certFile"), file("keyFile")]);
  if ((cert === undefined) !== (key === undefined))
    throw new Error("client.tlsConfig.certFile and keyFile belong together");
  const serverName = settings["client.tlsConfig.address"];
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(serverName && { serverName }),
    ...(settings["client.tlsConfig.insecureSkipVerify"] && { rejectUnauthorized: false }),
  };
}

async function readText(field: string, path: string, files: Files): Promise<string> {
  const content = await files.read(path).catch((error: unknown) => {
    throw new Error(`couldn't read ${field} ${path}: ${messageOf(error)}`, { cause: error });
  });
  return Buffer.from(content).toString("utf8");
}
