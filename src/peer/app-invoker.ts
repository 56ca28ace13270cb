import type { AppChannel } from "../app/channel.ts";
import type { Clock } from "../edges/clock.ts";
import type { Sockets } from "../edges/sockets.ts";
import { Code, Fault } from "../errors.ts";
import { GrpcError, type GrpcProxyTarget } from "../net/grpc/types.ts";
import type { HttpClient, HttpReply } from "../net/http1/types.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
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
import { createGrpcProxy } from "./grpc-proxy.ts";
import { type AppName, forwardedLines, thisHost, trustDomainDefault } from "./identity.ts";
import { InvocationMetrics } from "./invocation-metrics.ts";
import type { InvokeHttpRequest, Invoker, InvokeUnaryReply, InvokeUnaryRequest } from "./invoker.ts";
import { limitBody } from "./limited-body.ts";
import { unaryReply } from "./method-answer.ts";
import { canonicalMethod, canonicalTarget, InvalidMethod } from "./method-path.ts";
import type { MethodAnswer, MethodCall } from "./on-invoke.ts";
import { PeerLinks } from "./peer-links.ts";
import { callerMetadata } from "./proxy-metadata.ts";
import type { Registry } from "./registry.ts";
import { builtInServiceRetries, type ConnectRetry } from "./retry.ts";
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
  readonly #targets = new Map<string, { target: Target; endpoint: ExternalEndpoint | undefined }>();

  constructor(options: InvokerOptions) {
    const { principal, channel, registry, httpClient, clock, settings, telemetry } = options;
    this.#options = options;
    this.#links = new PeerLinks(clock, options.sockets);
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
    };
    const resolveTarget = (id: string): Target => this.#target(id);
    this.#proxy = createGrpcProxy({ ...this.#forward, telemetry, resolveTarget, links: this.#links });
  }

  invokeHttp({ id, target, request, span }: InvokeHttpRequest): Promise<HttpReply> {
    const fail = (error: unknown): never => {
      throw asFault(id, error);
    };
    try {
      const body = limitBody(request.body, this.#options.settings.maxBodyBytes);
      const call = { request, body, target: canonicalPath(target), trace: span.context };
      return this.#callHttp(id, call).then(undefined, fail);
    } catch (error) {
      return Promise.reject(asFault(id, error));
    }
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

  async close(): Promise<void> {
    this.#links.close();
  }

  #callHttp(id: string, call: OutgoingCall): Promise<HttpReply> {
    const callee = this.#target(id);
    if (callee.kind === "external") {
      return this.#measured(id, () => forwardOutside(call, callee, this.#forward), statusOf);
    }
    if (this.#isSelf(callee.name)) return forwardToSelf(call, this.#forward);
    const local = this.#options.registry.local.get(callee.name);
    return this.#measured(
      callee.name.appId,
      () => (local ? forwardToLocal(call, local, this.#forward) : forwardToPeer(call, callee, this.#forward)),
      statusOf,
    );
  }

  async #callMethod(request: InvokeUnaryRequest): Promise<MethodAnswer> {
    const { id, context, span } = request;
    const call: MethodCall & { signal: AbortSignal } = {
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
    if (callee.kind === "external") {
      return this.#measured(id, () => methodOutside(call, callee, this.#forward), codeOf);
    }
    if (this.#isSelf(callee.name)) return methodToSelf(call, this.#forward);
    const local = this.#options.registry.local.get(callee.name);
    return this.#measured(
      callee.name.appId,
      () => (local ? methodToLocal(call, local, this.#forward) : methodToPeer(call, callee, this.#forward)),
      codeOf,
    );
  }

  #isSelf({ appId, namespace }: AppName): boolean {
    const { principal } = this.#options;
    return appId === principal.appId && namespace === principal.namespace;
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
