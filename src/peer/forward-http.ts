import type { AppChannel } from "../app/channel.ts";
import type { Clock } from "../edges/clock.ts";
import { Code } from "../errors.ts";
import type { TryOwner } from "../kit/try-owner.ts";
import { GrpcError, type ProxyPolicy } from "../net/grpc/types.ts";
import { readyBytes } from "../net/http1/body.ts";
import type {
  Body,
  HttpClient,
  HttpReply,
  HttpRequest,
  HttpResponse,
  RawHeaders,
} from "../net/http1/types.ts";
import { spliceSockets } from "../net/splice.ts";
import { formatTraceparent } from "../telemetry/propagation.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import { balancedHttp } from "./balance/calls.ts";
import type { TargetBalancer } from "./balance/target-balancer.ts";
import { deliverHttp, type HttpDelivery, RequestDelivery } from "./deliver.ts";
import { appCallFailure, noOwnChannel, noRemoteChannel } from "./failure.ts";
import { callerRules, upgradeOf, withoutNamed } from "./header-rules.ts";
import { passAnswer } from "./http-answer.ts";
import { type AppName, identityLines } from "./identity.ts";
import { admitted, inboundHttp, type Said } from "./inbound.ts";
import type { Admission, LocalTarget } from "./local-targets.ts";
import { PassingBody } from "./passing-body.ts";
import { appField, errorOfAnswer, peerFields, trustDomainLines } from "./peer-link.ts";
import { refusedReply } from "./refusal.ts";
import type { Instance, Registry } from "./registry.ts";
import { type ConnectRetry, callPeer } from "./retry.ts";
import { addressTo, type PeerSecurity } from "./security.ts";
import type { Aim, Subset } from "./subset.ts";
import type { Target } from "./target.ts";

/** An HTTP call whose target is known, on its way out. */
export interface OutgoingCall {
  request: HttpRequest;
  /** The request's, within the size limit. */
  body: Body;
  /** Canonical. */
  target: string;
  trace: SpanContext;
  /** What the app shall see as the host; absent: the address it is called at. */
  host?: string | undefined;
  /** Instead of the forwarding headers of this machine. */
  forwarded?: readonly string[] | undefined;
  /** What a route asks of the instance. */
  aim?: Aim | undefined;
  /** Ids of instances that attempts before this one had; it adds its own. */
  avoid?: Set<string> | undefined;
  /** Which of the policies on its way tries it again. */
  tries?: TryOwner | undefined;
}

export interface ForwardOptions {
  principal: AppName;
  /** The caller's. */
  trustDomain(): string;
  channel: AppChannel | undefined;
  registry: Registry;
  httpClient: HttpClient;
  clock: Clock;
  bodyBytesMax: number;
  /** Lines of `forwardedLines`. */
  forwarded: readonly string[];
  connectRetry(id: string): ConnectRetry;
  /** Chooses among the instances of an app, where a policy says how. */
  balancerOf?: ((name: AppName, subset?: Subset) => TargetBalancer | undefined) | undefined;
  security?: PeerSecurity | undefined;
  /** Round gRPC calls of any service to another app. */
  proxyPolicy?: ((id: string, path: string) => ProxyPolicy | undefined) | undefined;
}

/** To the caller's own app: no second hop. */
export function forwardToSelf(call: OutgoingCall, options: ForwardOptions): Promise<HttpReply> {
  const { channel, principal, bodyBytesMax } = options;
  if (!channel) throw new Error(noOwnChannel);
  const headers = outgoingHeaders(call.request);
  const { appId, namespace } = principal;
  headers.push("dapr-caller-app-id", appId, "dapr-caller-namespace", namespace, "dapr-callee-app-id", appId);
  headers.push(...(call.forwarded ?? []), ...hostLine(call, "Host"));
  const authorize = options.registry.local.get(principal)?.authorize;
  if (authorize === undefined) return deliverHttp(channel, deliveryOf(call, headers), bodyBytesMax);
  const said = { caller: principal, trustDomain: options.trustDomain(), isSelf: true };
  return admitHttp(authorize, said, { call, headers }, (passed, body) =>
    deliverHttp(channel, deliveryOf(call, passed, body), bodyBytesMax),
  );
}

type Authorize = NonNullable<LocalTarget["authorize"]>;

/** Lets a call in, with the headers it goes on with, or answers as the callee's policies say. */
async function admitHttp(
  authorize: Authorize,
  said: Said,
  { call, headers }: { call: OutgoingCall; headers: RawHeaders },
  deliver: (headers: RawHeaders, body: Body) => Promise<HttpReply>,
): Promise<HttpReply> {
  let admission: Admission | Promise<Admission>;
  const body = new PassingBody(call.body);
  try {
    admission = authorize(inboundHttp(said, call.request, { target: call.target, headers, body }));
    if (admission instanceof Promise) admission = await admission;
  } catch (error) {
    body.drop();
    return refusedReply(error);
  }
  return deliver(admitted(headers, admission), body.whole);
}

/** To an app of the same process. */
export function forwardToLocal(
  call: OutgoingCall,
  callee: LocalTarget,
  options: ForwardOptions,
): Promise<HttpReply> {
  const { principal, bodyBytesMax, forwarded } = options;
  const { channel, authorize } = callee;
  if (!channel) throw new GrpcError(Code.Internal, noRemoteChannel);
  const headers = outgoingHeaders(call.request);
  headers.push(...(call.forwarded ?? forwarded), ...identityLines(principal, callee.name.appId));
  headers.push(...hostLine(call, "Host"));
  const deliver = async (passed: RawHeaders, body: Body): Promise<HttpReply> => {
    try {
      return await deliverHttp(channel, deliveryOf(call, passed, body), bodyBytesMax);
    } catch (error) {
      throw appCallFailure(error);
    }
  };
  if (authorize === undefined) return deliver(headers, call.body);
  const said = { caller: principal, trustDomain: options.trustDomain(), isSelf: false };
  return admitHttp(authorize, said, { call, headers }, deliver);
}

/** To an app that another mecha on this machine runs. */
export function forwardToPeer(
  call: OutgoingCall,
  { name, id }: Extract<Target, { kind: "app" }>,
  options: ForwardOptions,
): Promise<HttpReply> {
  const { request } = call;
  const { registry, clock, principal, forwarded } = options;
  const headers = outgoingHeaders(request);
  headers.push(...(call.forwarded ?? forwarded), ...identityLines(principal, name.appId));
  headers.push(...traceLines(call.trace), peerFields.app, appField(name), ...hostLine(call, peerFields.host));
  headers.push(...trustDomainLines(options.trustDomain()));
  const { method, cancellation } = request;
  // Bytes that are here already can be sent to one instance after the other.
  const body = readyBytes(call.body) ?? call.body;
  const balancer = options.balancerOf?.(name, call.aim?.subset);
  const limits = balancer?.connection;
  const answered = (response: HttpResponse): HttpReply => {
    const failure = errorOfAnswer((lowerName) => response.header(lowerName));
    if (failure) throw failure;
    return passAnswer(withTakeOver(response), method);
  };
  const send = (instance: Instance): Promise<HttpReply> =>
    options.httpClient
      .request(addressTo(instance, options.security), {
        limits,
        method,
        target: call.target,
        headers: [...headers, peerFields.token, instance.token],
        body,
        cancellation,
        signal: cancellation === undefined ? request.signal : undefined,
      })
      .then(answered);
  const retry = options.connectRetry(id);
  const attempt = { registry, clock, retry, name, id, request, aim: call.aim };
  if (balancer === undefined) return callPeer(attempt, send);
  return balancer.call(attempt, balancedHttp(request, call.target, call.avoid), send);
}

/** To an HTTPEndpoint or URL: the outside world learns nothing of apps and tokens. */
export async function forwardOutside(
  call: OutgoingCall,
  target: ExternalTarget,
  options: ForwardOptions,
): Promise<HttpReply> {
  const { request } = call;
  const response = await options.httpClient.request(target.address, {
    method: request.method,
    target: externalPath(target, call.target),
    headers: externalHeaders(
      outgoingHeaders(request).concat(call.forwarded ?? [], hostLine(call, "Host")),
      target,
      call.trace,
    ),
    body: call.body,
    ...departureOf(request),
  });
  return passAnswer(withTakeOver(response), request.method);
}

type ExternalTarget = Extract<Target, { kind: "external" }>;

export function externalPath({ basePath }: ExternalTarget, target: string): string {
  // A method without a path means the base itself, not a folder below it.
  return basePath + (basePath !== "" && /^\/(?:\?|$)/.test(target) ? target.slice(1) : target);
}

/** The endpoint's own headers take the place of the caller's. */
export function externalHeaders(
  headers: RawHeaders,
  { headers: own }: ExternalTarget,
  trace: SpanContext | undefined,
): RawHeaders {
  const kept =
    own.length === 0 ? headers : withoutNamed(headers, new Set(own.map(([name]) => name.toLowerCase())));
  return kept.concat(...own, traceLines(trace));
}

function hostLine({ host }: OutgoingCall, name: string): string[] {
  return host === undefined ? [] : [name, host];
}

/** The W3C header lines of a trace context. */
export function traceLines(trace: SpanContext | undefined): string[] {
  if (trace === undefined) return [];
  const lines = ["traceparent", formatTraceparent(trace)];
  if (trace.traceState !== "") lines.push("tracestate", trace.traceState);
  return lines;
}

function deliveryOf(
  { request, body: own, target, trace }: OutgoingCall,
  headers: RawHeaders,
  body = own,
): HttpDelivery {
  return new RequestDelivery(request, { target, headers, body, trace });
}

/** How a client hears that the caller has left: the cheap way where there is one. */
function departureOf(request: HttpRequest): Partial<Pick<HttpRequest, "signal" | "cancellation">> {
  const { cancellation } = request;
  return cancellation === undefined ? { signal: request.signal } : { cancellation };
}

function outgoingHeaders(request: HttpRequest): RawHeaders {
  const headers = callerRules.copy(request.rawHeaders);
  const protocol = upgradeOf((lowerName) => request.header(lowerName));
  if (protocol !== undefined) headers.push("Connection", "Upgrade", "Upgrade", protocol);
  return headers;
}

/** The answer with what a 101 needs: the way to join the caller's socket to the upstream's. */
export function withTakeOver(response: HttpResponse): HttpResponse & Pick<HttpReply, "takeOver"> {
  const { upgrade } = response;
  if (!upgrade) return response;
  return {
    status: response.status,
    reason: response.reason,
    rawHeaders: response.rawHeaders,
    header: (lowerName) => response.header(lowerName),
    body: response.body,
    takeOver: (socket, head) => spliceSockets(socket, head, upgrade.socket, upgrade.head),
  };
}
