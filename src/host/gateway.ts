import { Code, errors, Fault } from "../errors.ts";
import type { GrpcProxyTarget } from "../net/grpc/types.ts";
import { changedRequest, withoutHeaders } from "../net/http1/changed-request.ts";
import type { HttpReply, HttpRequest } from "../net/http1/types.ts";
import type { Invoker } from "../peer/invoker.ts";
import { type GatewayTables, Routes } from "../peer/routes/routes.ts";
import { BreakerOpen } from "../policy/resilience/breaker.ts";
import { AttemptTimeout } from "../policy/resilience/policy.ts";
import type { RefNotPermitted } from "../resource/reference-grant.ts";
import type { GatewayListener, GatewayResource } from "../resource/route.ts";
import { extractContext } from "../telemetry/propagation.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { GatewayCertificates } from "./gateway-certificates.ts";
import type { Host } from "./host.ts";
import { createListener, type Listener } from "./listeners.ts";
import type { RuntimeOptions } from "./options.ts";
import { isPortTaken } from "./ports.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";
import { TlsSockets } from "./tls-sockets.ts";

export interface GatewaysRequest {
  host: Host;
  options: RuntimeOptions;
  resources: Pick<RuntimeResources, "policies" | "onPolicies" | "components">;
  invoker: Pick<Invoker, "routeHttp" | "routeGrpc">;
  telemetry: Telemetry;
}

/** How long a port that somebody else has is waited for between two tries. */
const retryMs = 1000;

/** Opens what the Gateways among an app's resources ask for; rejects for none of them. */
export async function openGateways(request: GatewaysRequest): Promise<Pick<Gateways, "close">> {
  const gateways = new Gateways(request);
  await gateways.apply();
  return gateways;
}

/** The ports that Gateways ask for; they open and close as the resources change. */
class Gateways {
  readonly #request: GatewaysRequest;
  readonly #namespace: string;
  readonly #ports = new Map<string, GatewayPort>();
  #told: ReadonlySet<string> = new Set();
  #applying: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(request: GatewaysRequest) {
    this.#request = request;
    this.#namespace = principalOf(request.options).namespace;
    request.resources.onPolicies(() => void this.apply());
  }

  /** One after the other. Resolves when the ports that can be opened are open. */
  apply(): Promise<void> {
    this.#applying = this.#applying.then(() => this.#applyNow());
    return this.#applying;
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    await this.#applying;
    await Promise.all([...this.#ports.values()].map((port) => port.close(graceMs)));
    this.#ports.clear();
  }

  /** What was told before is not told again. */
  #tell(refused: readonly RefNotPermitted[]): void {
    const texts = new Set(
      refused.map(({ resource, message }) => `${resource.kind} ${resource.name}: ${message}`),
    );
    for (const text of texts) if (!this.#told.has(text)) this.#request.telemetry.log.warn({}, text);
    this.#told = texts;
  }

  async #applyNow(): Promise<void> {
    if (this.#isClosed) return;
    const { resources, options, telemetry } = this.#request;
    const routes = new Routes(resources.policies, this.#namespace);
    const wanted = new Map<string, PortPlan>();
    const refused = routes.refsNotPermitted;
    this.#tell(refused);
    for (const gateway of resources.policies.filter(isGateway)) {
      const shut = refused.filter(({ resource }) => resource === gateway).map(({ path }) => path[2]);
      const open = gateway.spec.listeners.filter((_, index) => !shut.includes(index));
      for (const plan of plansOf(gateway, open)) {
        const other = plan.port === 0 ? undefined : wanted.get(plan.key);
        if (other === undefined) wanted.set(plan.key, plan);
        else
          telemetry.log.error(
            {},
            `gateway ${gateway.name}: port ${plan.port} is of gateway ${other.gateway.name}`,
          );
      }
    }
    for (const [key, port] of this.#ports) {
      const plan = wanted.get(key);
      if (plan !== undefined && port.adopt(plan, routes)) continue;
      this.#ports.delete(key);
      // Requests under way may end; the port is free at once.
      void port.close(options.gracefulShutdownSeconds * 1000);
    }
    for (const [key, plan] of wanted) {
      if (this.#ports.has(key)) continue;
      const port = new GatewayPort(plan, routes, this.#request);
      this.#ports.set(key, port);
      await port.open();
    }
  }
}

interface PortPlan {
  key: string;
  gateway: GatewayResource;
  port: number;
  protocol: GatewayListener["protocol"];
  listeners: GatewayListener[];
}

function isGateway(resource: { kind: string }): resource is GatewayResource {
  return resource.kind === "Gateway";
}

function plansOf(gateway: GatewayResource, listeners: readonly GatewayListener[]): PortPlan[] {
  const byPort = new Map<number, GatewayListener[]>();
  for (const listener of listeners) {
    byPort.set(listener.port, [...(byPort.get(listener.port) ?? []), listener]);
  }
  return [...byPort].map(([port, listeners]) => ({
    // A port that is chosen is nobody else's.
    key: port === 0 ? `${gateway.namespace}/${gateway.name}` : String(port),
    gateway,
    port,
    protocol: listeners[0]?.protocol ?? "HTTP",
    listeners,
  }));
}

/** One port that listens, with the routes of its listeners. */
class GatewayPort {
  bound = 0;
  readonly #request: GatewaysRequest;
  readonly #listener: Listener;
  readonly #tls: TlsSockets | undefined;
  #plan: PortPlan;
  #tables: GatewayTables;
  #certificates: GatewayCertificates | undefined;
  #retry: { cancel(): void } | undefined;
  #isClosed = false;
  #hasWarned = false;

  constructor(plan: PortPlan, routes: Routes, request: GatewaysRequest) {
    this.#plan = plan;
    this.#request = request;
    this.#tables = routes.gatewayTables(plan.gateway, plan.listeners);
    this.#tls = plan.protocol === "HTTPS" ? new TlsSockets() : undefined;
    const { options, host, telemetry } = request;
    const grpc: GrpcProxyTarget = request.invoker.routeGrpc(() => this.#tables);
    this.#listener = createListener({
      http: (http) => this.#serve(http),
      grpc: () => grpc,
      sockets: this.#tls ?? host.edges.sockets,
      maxBodyBytes: options.maxBodyBytes,
      readBufferBytes: options.readBufferBytes,
      onError: (error) => telemetry.log.error({ error }, "a gateway's handler failed"),
    });
  }

  /** Takes the plan over when the socket can stay as it is. */
  adopt(plan: PortPlan, routes: Routes): boolean {
    const asked = ({ protocol, gateway: { spec, secretStore }, listeners }: PortPlan): string =>
      JSON.stringify([
        protocol,
        spec.addresses,
        secretStore,
        listeners.map(({ tls, hostname }) => tls && [tls, hostname]),
      ]);
    if (asked(plan) !== asked(this.#plan)) return false;
    this.#plan = plan;
    this.#tables = routes.gatewayTables(plan.gateway, plan.listeners);
    return true;
  }

  async open(): Promise<void> {
    const { log } = this.#request.telemetry;
    const { gateway, port, protocol } = this.#plan;
    const { addresses } = gateway.spec;
    try {
      await this.#openCertificates();
      this.bound = await this.#listener.listen(addresses.length > 0 ? addresses : ["::"], port);
      log.info({}, `gateway ${gateway.name} listens on port ${this.bound} (${protocol})`);
    } catch (error) {
      // Of several runtimes that see a Gateway one has the port; when it ends another does.
      const isTaken = isPortTaken(error) || isPortTaken((error as Error).cause);
      const text = `gateway ${gateway.name} does not listen on port ${port}: ${(error as Error).message}`;
      if (!this.#hasWarned) isTaken ? log.warn({}, `${text}; it is tried again`) : log.error({}, text);
      this.#hasWarned = true;
      if (!this.#isClosed) this.#retryLater();
    }
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#certificates?.close();
    await this.#listener.close(graceMs);
  }

  #retryLater(): void {
    this.#retry = this.#request.host.clock.setTimer(retryMs, () => void this.open(), { background: true });
  }

  async #openCertificates(): Promise<void> {
    if (this.#tls === undefined || this.#certificates !== undefined) return;
    const { gateway, listeners } = this.#plan;
    const { host, telemetry, resources } = this.#request;
    const parts = {
      gateway,
      listeners,
      components: resources.components,
      edges: host.edges,
      log: telemetry.log,
    };
    const certificates = new GatewayCertificates(parts, this.#tls);
    await certificates.open();
    this.#certificates = certificates;
  }

  async #serve(http: HttpRequest): Promise<HttpReply> {
    const { invoker, telemetry } = this.#request;
    const scheme = this.#tls === undefined ? "http" : "https";
    const span = telemetry.tracer.start(
      `${http.method} ${this.#plan.gateway.name}`,
      "server",
      extractContext((name) => http.header(name)),
    );
    try {
      const request = changedRequest(http, { rawHeaders: withoutHeaders(http.rawHeaders, saidOfTheWay) });
      const forwarded = wayLines(http, scheme, this.bound);
      const reply = await invoker.routeHttp({ tables: this.#tables, request, span, scheme, forwarded });
      span.end(reply.status >= 500 ? { code: 2, message: `Code(${reply.status})` } : undefined);
      return reply;
    } catch (error) {
      const fault = faultOf(error, this.#plan.gateway.name);
      span.end({ code: fault.grpc, message: fault.message });
      const body = JSON.stringify({ errorCode: fault.code, message: fault.message });
      return { status: fault.http, headers: ["Content-Type", "application/json"], body };
    }
  }
}

/** Dapr's 500 is for its API: who comes from outside learns by the status that a policy of the Gateway has ended it. */
function faultOf(error: unknown, name: string): Fault {
  if (!(error instanceof Fault)) return errors.INVOKE(name, String(error));
  const { cause } = error;
  if (cause instanceof BreakerOpen) return errors.ROUTE(cause.message, { cause });
  if (!(cause instanceof AttemptTimeout)) return error;
  return errors.ROUTE(cause.message, { http: 504, grpc: Code.DeadlineExceeded, cause });
}

/** Whoever comes from outside may say anything of its way: it is said anew. */
const saidOfTheWay = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-real-ip",
]);

function wayLines(http: HttpRequest, scheme: string, port: number): string[] {
  const { remoteAddress } = http;
  const host = http.header("host") ?? "";
  const node = remoteAddress.includes(":") ? `"[${remoteAddress}]"` : remoteAddress;
  const lines = ["X-Forwarded-Proto", scheme, "X-Forwarded-Port", String(port)];
  if (remoteAddress !== "") lines.push("X-Forwarded-For", remoteAddress);
  if (host !== "") lines.push("X-Forwarded-Host", host);
  const parts = [remoteAddress !== "" && `for=${node}`, host !== "" && `host="${host}"`, `proto=${scheme}`];
  return [...lines, "Forwarded", parts.filter(Boolean).join(";")];
}
