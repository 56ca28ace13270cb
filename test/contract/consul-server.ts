// Stands in for an agent of HashiCorp Consul, which can not be installed here: what its HTTP API documents of services,
// checks and health, and no more. Anything else is refused, so that a wrong name or type fails a test.
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Pair } from "../scenario/tls-fixture.ts";

interface Check {
  id: string;
  /** Without a report for so long it is critical; `undefined`: nobody reports. */
  ttlMs: number | undefined;
  status: string;
  reportedAtMs: number;
}

interface Service {
  ID: string;
  Name: string;
  Address?: string;
  Port?: number;
  Tags?: string[];
  Meta?: Record<string, string>;
  checks: Check[];
}

export interface ConsulServer {
  readonly port: number;
  /** `VERB path?query`, in order. */
  readonly asked: string[];
  /** The headers of the last request. */
  readonly headers: Record<string, unknown>;
  readonly services: Map<string, Service>;
  /** Absent: everybody is let in. */
  token: string | undefined;
  /** Takes requests and does not answer. */
  isFrozen: boolean;
  /** As after a start without its data. */
  forget(): void;
  close(): Promise<void>;
}

const nodeAddress = "127.0.0.9";

export async function startConsul({
  tls,
  port = 0,
}: {
  tls?: Pair;
  port?: number;
} = {}): Promise<ConsulServer> {
  const answer: RequestListener = async (request, response) => {
    const url = new URL(request.url ?? "/", "http://consul");
    server.asked.push(`${request.method} ${request.url}`);
    server.headers = request.headers;
    const body = await textOf(request);
    if (server.isFrozen) return;
    const { status, value } = replyTo(server, {
      method: request.method ?? "",
      url,
      body,
      headers: request.headers,
    });
    const headers = { "content-type": "application/json", "x-consul-index": "1" };
    response.writeHead(status, headers).end(typeof value === "string" ? value : JSON.stringify(value));
  };
  const listener = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  await new Promise<void>((done) => listener.listen(port, "127.0.0.1", done));
  const server = {
    port: (listener.address() as AddressInfo).port,
    asked: [] as string[],
    headers: {} as Record<string, unknown>,
    services: new Map<string, Service>(),
    token: undefined as string | undefined,
    isFrozen: false,
    forget: () => server.services.clear(),
    close() {
      listener.closeAllConnections();
      return new Promise<void>((done) => void listener.close(() => done()));
    },
  };
  return server;
}

interface Question {
  method: string;
  url: URL;
  body: string;
  headers: Record<string, unknown>;
}
interface Reply {
  status: number;
  value: unknown;
}

const queries = new Set([
  "passing",
  "dc",
  "ns",
  "partition",
  "filter",
  "near",
  "stale",
  "consistent",
  "cached",
]);

function replyTo(server: ConsulServer, { method, url, body, headers }: Question): Reply {
  if (server.token !== undefined && headers["x-consul-token"] !== server.token)
    return { status: 403, value: "Permission denied: token with AccessorID lacks permission" };
  const path = decodeURIComponent(url.pathname);
  const [, ...rest] = path.split("/");
  const tail = rest.slice(3).join("/");
  const at = `${method} /${rest.slice(0, 3).join("/")}`;
  if (at === "GET /v1/agent/self") return { status: 200, value: { Config: {}, Member: {} } };
  if (at === "PUT /v1/agent/service") return serviceReply(server, tail, body);
  if (at === "PUT /v1/agent/check") return checkReply(server, tail);
  if (at !== "GET /v1/health/service") return { status: 404, value: `no such endpoint: ${at}` };
  const stranger = [...url.searchParams.keys()].find((name) => !queries.has(name));
  if (stranger !== undefined) return { status: 400, value: `unknown query ${stranger}` };
  if (!url.searchParams.has("passing"))
    return { status: 400, value: "this stand-in lists passing services only" };
  if (url.searchParams.has("stale") && url.searchParams.has("consistent"))
    return { status: 400, value: "Cannot specify ?stale with ?consistent, conflicting semantics." };
  const passing = [...server.services.values()].filter(
    ({ Name, checks }) => Name === tail && checks.every((check) => statusOf(check) === "passing"),
  );
  return { status: 200, value: passing.map(entryOf) };
}

function entryOf({ checks, ...service }: Service) {
  return {
    Node: { Node: "here", Address: nodeAddress },
    Service: { ...service, Service: service.Name, Address: service.Address ?? "" },
    Checks: checks.map(({ id, status }) => ({ CheckID: id, Status: status })),
  };
}

function statusOf({ ttlMs, status, reportedAtMs }: Check): string {
  return ttlMs !== undefined && Date.now() - reportedAtMs > ttlMs ? "critical" : status;
}

function serviceReply(server: ConsulServer, tail: string, body: string): Reply {
  const [verb, id = ""] = tail.split("/");
  if (verb === "deregister")
    return server.services.delete(id)
      ? { status: 200, value: "" }
      : { status: 404, value: `Unknown service ID "${id}"` };
  if (verb !== "register") return { status: 404, value: "no such endpoint" };
  try {
    const service = serviceOf(JSON.parse(body) as Record<string, unknown>);
    server.services.set(service.ID, service);
    return { status: 200, value: "" };
  } catch (error) {
    return { status: 400, value: `Invalid service: ${(error as Error).message}` };
  }
}

function checkReply(server: ConsulServer, tail: string): Reply {
  const [state = "", ...rest] = tail.split("/");
  const statuses: Record<string, string> = { pass: "passing", warn: "warning", fail: "critical" };
  const status = statuses[state];
  const check = [...server.services.values()]
    .flatMap(({ checks }) => checks)
    .find(({ id }) => id === rest.join("/"));
  if (status === undefined) return { status: 404, value: "no such endpoint" };
  if (check === undefined) return { status: 404, value: `Unknown check ID "${rest.join("/")}"` };
  if (check.ttlMs === undefined)
    return { status: 400, value: `CheckID "${check.id}" does not have associated TTL` };
  Object.assign(check, { status, reportedAtMs: Date.now() });
  return { status: 200, value: "" };
}

const text = (value: unknown): boolean => typeof value === "string";
const serviceFields: Record<string, (value: unknown) => boolean> = {
  ID: text,
  Name: text,
  Address: text,
  Port: Number.isInteger,
  Tags: (value) => Array.isArray(value) && value.every(text),
  Meta: (value) => Object.values(value as object).every(text),
  Checks: Array.isArray,
};
const checkFields: Record<string, (value: unknown) => boolean> = {
  ...{
    CheckID: text,
    Name: text,
    TTL: text,
    HTTP: text,
    TCP: text,
    Interval: text,
    Timeout: text,
    Status: text,
  },
  ...{
    Notes: text,
    Method: text,
    DeregisterCriticalServiceAfter: text,
    TLSSkipVerify: (v) => typeof v === "boolean",
  },
};

function serviceOf(value: Record<string, unknown>): Service {
  checkTypes(value, serviceFields);
  if (!value.Name) throw new Error("Missing service name");
  const { ID = value.Name, Checks = [], ...rest } = value;
  const checks = (Checks as Record<string, unknown>[]).map((check) => checkOf(check, String(ID)));
  return { ...(rest as unknown as Service), ID: String(ID), checks };
}

function checkOf(value: Record<string, unknown>, serviceId: string): Check {
  checkTypes(value, checkFields);
  const isTtl = value.TTL !== undefined;
  if (isTtl === (value.HTTP !== undefined || value.TCP !== undefined))
    throw new Error("a check has either TTL, or an address and Interval");
  if (!isTtl && value.Interval === undefined)
    throw new Error("Interval must be > 0 for Script, HTTP, or TCP checks");
  return {
    id: String(value.CheckID ?? `service:${serviceId}`),
    ttlMs: isTtl ? durationOf(String(value.TTL)) : undefined,
    status: String(value.Status ?? "critical"),
    reportedAtMs: Date.now(),
  };
}

function checkTypes(
  value: Record<string, unknown>,
  known: Record<string, (value: unknown) => boolean>,
): void {
  for (const [name, one] of Object.entries(value)) {
    if (known[name] === undefined) throw new Error(`unknown field ${name}`);
    if (!known[name](one)) throw new Error(`${name} has another type`);
  }
}

function durationOf(text: string): number {
  const [, amount = "", unit = ""] = /^(\d+)(ms|s)$/.exec(text) ?? [];
  if (unit === "") throw new Error(`invalid duration ${text}`);
  return Number(amount) * (unit === "s" ? 1000 : 1);
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
