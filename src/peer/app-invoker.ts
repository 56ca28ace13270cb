import type { AppChannel } from "../app/channel.ts";
import type { Clock } from "../edges/clock.ts";
import { type Random, realRandom } from "../edges/random.ts";
import type { Sockets } from "../edges/sockets.ts";
import { Code, Fault } from "../errors.ts";
import { GrpcError, type GrpcProxyTarget } from "../net/grpc/types.ts";
import type { HttpClient, HttpReply } from "../net/http1/types.ts";
import type { RefNotPermitted } from "../resource/reference-grant.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { Balancers, type Balancing } from "./balance/balancers.ts";
import type { UpstreamStatus } from "./balance/policy.ts";
import { createProbe } from "./balance/probe.ts";
import { invokeFault } from "./failure.ts";
import {
  type ForwardOptions,
  forwardOutside,
  forwardToLocal,
  forwardToPeer,
  forwardToSelf,
  type OutgoingCall,
} from "./forward-http.ts";
import { methodOutside, methodToLocal, methodToPeer, methodToSelf } from "./forward-method.ts";
import { createGrpcProxy, createRoutedProxy, type GrpcProxyOptions } from "./grpc-proxy.ts";
import { type AppName, forwardedLines, thisHost, trustDomainDefault } from "./identity.ts";
import { InvocationMetrics } from "./invocation-metrics.ts";
import type {
  InvokeHttpRequest,
  Invoker,
  InvokeUnaryReply,
  InvokeUnaryRequest,
  RouteHttpRequest,
} from "./invoker.ts";
import { limitBody } from "./limited-body.ts";
import type { LocalTarget } from "./local-targets.ts";
import { unaryReply } from "./method-answer.ts";
import { canonicalMethod, canonicalTarget, InvalidMethod } from "./method-path.ts";
import type { MethodAnswer } from "./on-invoke.ts";
import { PeerLinks } from "./peer-links.ts";
import { callerMetadata } from "./proxy-metadata.ts";
import type { Registry } from "./registry.ts";
import { builtInServiceRetries, type ConnectRetry } from "./retry.ts";
import { hostParts } from "./routes/path-change.ts";
import type { SignalledCall } from "./routes/route-method.ts";
import type { RoutePolicies } from "./routes/route-policy.ts";
import { Router } from "./routes/router.ts";
import type { GatewayTables, Routes } from "./routes/routes.ts";
import type { PeerSecurity } from "./security.ts";
import { type Aim, isInSubset, type Subset } from "./subset.ts";
import { type ExternalEndpoint, parseTarget, type Target } from "./target.ts";

export interface InvokerOptions {
  principal: AppName;
  settings: { maxBodyBytes: number };
  /** How to call the own app; `undefined` when it has no port. */
  channel: AppChannel | undefined;
  registry: Registry;
  /** Of the own app; the default one when absent. */
  trustDomain?(): string;
  /** HTTPEndpoints the app may see, secrets resolved; the same object as long as nothing changed. */
  httpEndpoint(name: string): ExternalEndpoint | undefined;
  /** Shared; the invoker does not close it. */
  httpClient: HttpClient;
  telemetry: Telemetry;
  clock: Clock;
  /** What peers are connected with besides `httpClient`. Default: the system's. */
  sockets?: Sockets;
  /** What the forwarding headers say of this machine. */
  host?: { address: string; name: string };
  /** Retries of calls that reached nobody; Dapr's built-in ones unless a policy says otherwise. */
  connectRetry?(id: string): ConnectRetry | undefined;
  proxyPolicy?: ForwardOptions["proxyPolicy"];
  /** The app's routes as they are now; `undefined`: there are none. */
  routes?(): Routes | undefined;
  /** Round the calls that go by routes. */
  routePolicies?: RoutePolicies | undefined;
  /** How instances of an app are chosen where a policy says it; absent: none does. */
  balancing?: Balancing;
  /** Of the own mecha. */
  labels?: Readonly<Record<string, string>>;
  /** What routes draw. Default: the system's. */
  random?: Random;
  security?: PeerSecurity | undefined;
}

export function createInvoker(options: InvokerOptions): Invoker {
  return new AppInvoker(options);
}

/** Ids whose target is remembered: they come from outside. */
const targetsMax = 1000;

class AppInvoker implements Invoker {
  readonly #options: InvokerOptions;
  readonly #forward: ForwardOptions;
  readonly #links: PeerLinks;
  readonly #metrics: InvocationMetrics;
  readonly #proxy: GrpcProxyTarget;
  readonly #proxyOptions: GrpcProxyOptions;
  readonly #router: Router;
  readonly #balancers: Balancers | undefined;
  readonly #targets = new Map<string, { target: Target; endpoint: ExternalEndpoint | undefined }>();

  constructor(options: InvokerOptions) {
    const { principal, channel, registry, httpClient, clock, settings, telemetry } = options;
    this.#options = options;
    this.#links = new PeerLinks(clock, options.sockets, options.security);
    this.#metrics = new InvocationMetrics(telemetry.metrics, principal.appId, clock);
    this.#forward = {
      principal,
      trustDomain: () => options.trustDomain?.() ?? trustDomainDefault,
      channel,
      registry,
      httpClient,
      clock,
      bodyBytesMax: settings.maxBodyBytes,
      forwarded: forwardedLines(options.host ?? thisHost()),
      connectRetry: (id) => options.connectRetry?.(id) ?? builtInServiceRetries,
      proxyPolicy: options.proxyPolicy,
      security: options.security,
    };
    this.#balancers = this.#openBalancers(options.balancing);
    this.#forward.balancerOf = this.#balancers && ((name, subset) => this.#balancers?.of(name, subset));
    this.#router = new Router({
      clock,
      random: options.random ?? realRandom,
      bodyBytesMax: settings.maxBodyBytes,
      namespace: principal.namespace,
      policies: options.routePolicies,
      endpoint: (id) => (options.httpEndpoint(id) === undefined ? undefined : this.#target(id)),
      sendHttp: (callee, call) => this.#sendHttp(callee, call),
      sendMethod: (callee, call, aim) => this.#sendMethod(callee, call, aim),
    });
    const resolveTarget = (id: string): Target => this.#target(id);
    this.#proxyOptions = {
      ...{ ...this.#forward, telemetry, resolveTarget, links: this.#links },
      routes: options.routes,
      routePolicies: options.routePolicies,
      random: options.random ?? realRandom,
    };
    this.#proxy = createGrpcProxy(this.#proxyOptions);
  }

  invokeHttp({ id, target, request, span, avoid, tries }: InvokeHttpRequest): Promise<HttpReply> {
    const fail = (error: unknown): never => {
      throw asFault(id, error);
    };
    try {
      const body = limitBody(request.body, this.#options.settings.maxBodyBytes);
      const call = { request, body, target: canonicalPath(target), trace: span.context, avoid, tries };
      return this.#callHttp(id, call).then(undefined, fail);
    } catch (error) {
      return Promise.reject(asFault(id, error));
    }
  }

  async routeHttp({ tables, request, span, scheme, forwarded }: RouteHttpRequest): Promise<HttpReply> {
    const id = request.header("host") ?? "";
    try {
      const body = limitBody(request.body, this.#options.settings.maxBodyBytes);
      const target = canonicalPath(request.target);
      const call = { request, body, target, trace: span.context, host: id, forwarded };
      const path = pathWithSlash(target, request.target);
      const gateway = tables.placeOf(hostParts(id).hostname);
      return await this.#router.http({ table: tables.http, call, path, id, scheme, gateway });
    } catch (error) {
      throw asFault(id, error);
    }
  }

  routeGrpc(tables: () => GatewayTables): GrpcProxyTarget {
    return createRoutedProxy(tables, this.#proxyOptions);
  }

  async invokeUnary(request: InvokeUnaryRequest): Promise<InvokeUnaryReply> {
    let answer: MethodAnswer;
    try {
      answer = await this.#callMethod(request);
    } catch (error) {
      throw asFault(request.id, error);
    }
    return unaryReply(answer, request.context);
  }

  proxy(): GrpcProxyTarget {
    return this.#proxy;
  }

  upstreams(): UpstreamStatus[] {
    return this.#balancers?.status() ?? [];
  }

  refsNotPermitted(): readonly RefNotPermitted[] {
    return this.#options.routes?.()?.refsNotPermitted ?? [];
  }

  async close(): Promise<void> {
    this.#balancers?.close();
    this.#links.close();
  }

  #openBalancers(balancing: Balancing | undefined): Balancers | undefined {
    if (balancing === undefined) return undefined;
    const { principal, labels = {}, registry, clock, random = realRandom, telemetry } = this.#options;
    const { httpClient, sockets, security } = this.#options;
    const probe = createProbe({ principal, httpClient, links: this.#links, sockets, security });
    const { metrics, log } = telemetry;
    return new Balancers(balancing, {
      ...{ appId: principal.appId, labels, registry, clock, random, metrics, log, probe },
    });
  }

  #callHttp(id: string, call: OutgoingCall): Promise<HttpReply> {
    const callee = this.#target(id);
    const table = callee.kind === "app" ? this.#options.routes?.()?.httpOf(callee.name) : undefined;
    if (table !== undefined) return this.#router.http({ table, call, id, scheme: "http" });
    return this.#sendHttp(callee, call);
  }

  #sendHttp(callee: Target, call: OutgoingCall): Promise<HttpReply> {
    if (callee.kind === "external") {
      return this.#measured(callee.id, () => forwardOutside(call, callee, this.#forward), statusOf);
    }
    const subset = call.aim?.subset;
    if (this.#isSelf(callee.name, subset)) return forwardToSelf(call, this.#forward);
    const local = this.#local(callee.name, subset);
    return this.#measured(
      callee.name.appId,
      () => (local ? forwardToLocal(call, local, this.#forward) : forwardToPeer(call, callee, this.#forward)),
      statusOf,
    );
  }

  async #callMethod(request: InvokeUnaryRequest): Promise<MethodAnswer> {
    const { id, context, span, tries } = request;
    const call: SignalledCall = {
      tries,
      method: canonicalName(request.method),
      data: request.data,
      contentType: request.contentType,
      verb: request.verb,
      querystring: request.querystring,
      metadata: callerMetadata(context.metadata),
      trace: span.context,
      signal: context.signal,
    };
    const callee = this.#target(id);
    const table = callee.kind === "app" ? this.#options.routes?.()?.httpOf(callee.name) : undefined;
    if (table !== undefined) return this.#router.method({ table, call, id });
    return this.#sendMethod(callee, call, undefined);
  }

  #sendMethod(callee: Target, call: SignalledCall, aim: Aim | undefined): Promise<MethodAnswer> {
    if (callee.kind === "external") {
      return this.#measured(callee.id, () => methodOutside(call, callee, this.#forward), codeOf);
    }
    if (this.#isSelf(callee.name, aim?.subset)) return methodToSelf(call, this.#forward);
    const local = this.#local(callee.name, aim?.subset);
    return this.#measured(
      callee.name.appId,
      () =>
        local ? methodToLocal(call, local, this.#forward) : methodToPeer(call, callee, this.#forward, aim),
      codeOf,
    );
  }

  /** The app of this process, when it is one of those that are asked for. */
  #local(name: AppName, subset: Subset | undefined): LocalTarget | undefined {
    const local = this.#options.registry.local.get(name);
    return local === undefined || subset === undefined || isInSubset(local.labels, subset)
      ? local
      : undefined;
  }

  #isSelf(name: AppName, subset: Subset | undefined): boolean {
    const { appId, namespace } = this.#options.principal;
    const isOwn = name.appId === appId && name.namespace === namespace;
    return isOwn && (subset === undefined || this.#local(name, subset) !== undefined);
  }

  /** What ids stand for is remembered, until an endpoint of the name comes, changes or goes. */
  #target(id: string): Target {
    const { principal, httpEndpoint } = this.#options;
    const endpoint = httpEndpoint(id);
    const known = this.#targets.get(id);
    if (known && known.endpoint === endpoint) return known.target;
    const target = parseTarget(id, principal.namespace, () => endpoint);
    if (known || this.#targets.size < targetsMax) this.#targets.set(id, { target, endpoint });
    return target;
  }

  async #measured<T>(callee: string, call: () => Promise<T>, statusOf: (result: T) => number): Promise<T> {
    const received = this.#metrics.sent(callee, "unary");
    try {
      const result = await call();
      received(String(statusOf(result)));
      return result;
    } catch (error) {
      received(String(error instanceof GrpcError ? error.code : Code.Internal));
      throw error;
    }
  }
}

function statusOf(reply: HttpReply): number {
  return reply.status;
}

function codeOf(answer: MethodAnswer): number {
  return answer.code;
}

function canonicalPath(target: string): string {
  try {
    return canonicalTarget(target);
  } catch (error) {
    throw asInvalidArgument(error);
  }
}

/** Calls end without a slash; routes of a gateway may look at it. */
function pathWithSlash(target: string, raw: string): string {
  const path = target.split("?", 1)[0] as string;
  const hasSlash = (raw.split("?", 1)[0] as string).endsWith("/");
  return hasSlash && path !== "/" ? `${path}/` : path;
}

function canonicalName(method: string): string {
  try {
    return canonicalMethod(method);
  } catch (error) {
    throw asInvalidArgument(error);
  }
}

function asInvalidArgument(error: unknown): unknown {
  if (!(error instanceof InvalidMethod)) return error;
  return new GrpcError(Code.InvalidArgument, error.message, { cause: error });
}

function asFault(id: string, error: unknown): Fault {
  return error instanceof Fault ? error : invokeFault(id, error);
}
