import type { AppChannel } from "../app/channel.ts";
import type { Random } from "../edges/random.ts";
import { Code } from "../errors.ts";
import { TryOwner } from "../kit/try-owner.ts";
import type { HeaderObject } from "../net/grpc/metadata.ts";
import { grpcCodeGoName } from "../net/grpc/status.ts";
import {
  type GrpcClient,
  type GrpcContext,
  GrpcError,
  type GrpcProxyTarget,
  type Metadata,
  type ProxyPolicy,
  type Shadowed,
} from "../net/grpc/types.ts";
import { extractGrpcContext } from "../telemetry/propagation.ts";
import type { Span, Telemetry } from "../telemetry/telemetry.ts";
import { BalancedStreams } from "./balance/calls.ts";
import { failureText, noOwnChannel, noRemoteChannel, unhealthy } from "./failure.ts";
import type { ForwardOptions } from "./forward-http.ts";
import { trustDomainDefault } from "./identity.ts";
import { admittedMetadata, inboundGrpc } from "./inbound.ts";
import { onceProxied } from "./once-proxied.ts";
import { appField, peerFields } from "./peer-link.ts";
import type { PeerLinks } from "./peer-links.ts";
import { forwardedMetadata, traceMetadata } from "./proxy-metadata.ts";
import type { Instance } from "./registry.ts";
import { callPeer, UnknownApp } from "./retry.ts";
import { changeHeaderObject } from "./routes/header-change.ts";
import { hostParts } from "./routes/path-change.ts";
import { type GrpcAim, type RoutedGrpc, routeGrpc } from "./routes/route-grpc.ts";
import { type RoutePolicies, round } from "./routes/route-policy.ts";
import type { GatewayTables, Routes } from "./routes/routes.ts";
import { isInSubset } from "./subset.ts";
import { InvalidTarget, type Target } from "./target.ts";

export type ProxyConnection = Awaited<ReturnType<GrpcProxyTarget["connect"]>>;

export interface GrpcProxyOptions extends ForwardOptions {
  telemetry: Telemetry;
  resolveTarget(id: string): Target;
  /** gRPC connections to peers, by address. */
  links: PeerLinks;
  routes?: (() => Routes | undefined) | undefined;
  routePolicies?: RoutePolicies | undefined;
  random: Random;
}

/** The text Dapr's callers know (dapr-api.md §12.3). */
const missingTarget =
  "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found";

/** Proxies calls of any service to the app their metadata names. */
export function createGrpcProxy(options: GrpcProxyOptions): GrpcProxyTarget {
  return { kind: "proxy", connect: (context) => connect(context, options) };
}

/** Proxies calls by the routes of a gateway. */
export function createRoutedProxy(tables: () => GatewayTables, options: GrpcProxyOptions): GrpcProxyTarget {
  const connectRouted = async (context: GrpcContext): Promise<ProxyConnection> => {
    const { grpc, placeOf } = tables();
    const place = placeOf(hostParts(context.authority ?? "").hostname);
    const policy = options.routePolicies?.grpc(place, context.path);
    return routedConnection(routeGrpc(grpc, context, options), options, policy);
  };
  return { kind: "proxy", connect: connectRouted };
}

async function connect(context: GrpcContext, options: GrpcProxyOptions): Promise<ProxyConnection> {
  const id = context.get("dapr-callee-app-id") ?? context.get("dapr-app-id");
  if (id === undefined) throw new GrpcError(Code.Unimplemented, missingTarget);
  // The text is grpc-go's. Rules name `/service/method`: what is neither would be judged by chance.
  if (!/^\/[^/]+\/[^/]+$/.test(context.path))
    throw new GrpcError(
      Code.Unimplemented,
      `malformed method name: ${JSON.stringify(context.path.slice(0, 200))}`,
    );
  const { name } = appTarget(id, options);
  const table = options.routes?.()?.grpcOf(name);
  if (table === undefined) {
    const connection = await connectTo(context, { name, id, subset: undefined }, options);
    const { principal } = options;
    const isOwn = name.appId === principal.appId && name.namespace === principal.namespace;
    return isOwn ? connection : governed(connection, options.proxyPolicy?.(id, context.path), context);
  }
  const routed = routeGrpc(table, context, options);
  return routedConnection(routed, options, options.proxyPolicy?.(id, context.path));
}

/** Inside the policies of its rule, and those within them of the version that the rule sends to. */
async function routedConnection(
  routed: RoutedGrpc,
  options: GrpcProxyOptions,
  outer?: ProxyPolicy,
): Promise<ProxyConnection> {
  const { context, answer, mirrors, places } = routed;
  const policies = places.map((place) => options.routePolicies?.grpc(place, context.path));
  const policy = [outer, ...policies].reduce(round);
  const connection = governed(await connectTo(context, routed, options), policy, context);
  const shadows: Shadowed[] = [];
  for (const mirror of mirrors) {
    // A copy that can not be sent is none.
    const sent = await connectTo(context, mirror, options).catch(() => undefined);
    if (sent === undefined) continue;
    const { client, metadata, done } = sent;
    shadows.push({ client, metadata, done: () => done?.(Code.Ok) });
  }
  if (answer.length === 0) return { ...connection, shadows };
  const changeHead = (headers: HeaderObject): HeaderObject => answer.reduce(changeHeaderObject, headers);
  return { ...connection, shadows, changeHead };
}

async function connectTo(
  context: GrpcContext,
  callee: GrpcAim,
  options: GrpcProxyOptions,
): Promise<ProxyConnection> {
  const { name, subset } = callee;
  const { principal, bodyBytesMax } = options;
  const known = options.registry.local.get(name);
  const local = known === undefined || isInSubset(known.labels, subset ?? {}) ? known : undefined;
  const isHere = name.appId === principal.appId && name.namespace === principal.namespace;
  const isOwn = isHere && (subset === undefined || local !== undefined);
  const span = startSpan(context, options.telemetry, isOwn ? "server" : "client");
  try {
    if (isOwn) return await ownApp(context, options, span);
    if (!local) return peer(context, callee, options, span);
    const callMetadata = forwardedMetadata(context, principal, name.appId);
    const trustDomain = options.trustDomain();
    const said = { caller: principal, trustDomain, isSelf: false };
    const admission = local.authorize?.(inboundGrpc(said, context, callMetadata));
    const passed = admittedMetadata(callMetadata, admission instanceof Promise ? await admission : admission);
    if (!local.channel) throw new GrpcError(Code.Internal, noRemoteChannel);
    return await connectToApp(local.channel, passed, { context, span, bodyBytesMax });
  } catch (error) {
    span.end({ code: Code.Internal, message: failureText(error) });
    throw error;
  }
}

/** With the policies of its target. A caller that says it streams has them round the opening of the stream alone. */
function governed(
  connection: ProxyConnection,
  policy: ProxyPolicy | undefined,
  context: GrpcContext,
): ProxyConnection {
  if (policy === undefined) return connection;
  const get = (lowerName: string): string | undefined => context.get(lowerName);
  if (!isTruthy(context.get("dapr-stream"))) {
    const told: ProxyPolicy = {
      hasRetries: policy.hasRetries,
      run: (attempt, options) => policy.run(attempt, { ...options, get, tries: new TryOwner() }),
    };
    return { ...connection, policy: told };
  }
  const { client } = connection;
  const { signal } = context;
  const run = { signal, isRepeatable: () => true, codeOf: () => Code.Ok, get, tries: new TryOwner() };
  const open: GrpcClient["open"] = (headers) => policy.run((ended) => client.open(headers, ended), run);
  const { unary, stream, close } = client;
  return { ...connection, client: { unary: unary.bind(client), stream: stream.bind(client), open, close } };
}

/** As Dapr reads it. */
function isTruthy(value: string | undefined): boolean {
  return /^(y|yes|true|t|on|1)$/i.test(value ?? "");
}

async function ownApp(context: GrpcContext, options: GrpcProxyOptions, span: Span): Promise<ProxyConnection> {
  const { channel, principal, bodyBytesMax } = options;
  if (!channel) throw new GrpcError(Code.Internal, noOwnChannel);
  const metadata = forwardedMetadata(context, principal, principal.appId);
  const said = { caller: principal, trustDomain: options.trustDomain(), isSelf: true };
  const authorize = options.registry.local.get(principal)?.authorize;
  const admission = await authorize?.(inboundGrpc(said, context, metadata));
  return connectToApp(channel, admittedMetadata(metadata, admission), { context, span, bodyBytesMax });
}

export interface LastHop {
  context: Pick<GrpcContext, "path" | "signal">;
  span: Span;
  bodyBytesMax: number;
}

/** The last hop: within the app's concurrency limit, with its token. */
export async function connectToApp(
  channel: AppChannel,
  metadata: Metadata,
  { context, span, bodyBytesMax: bytesMax }: LastHop,
): Promise<ProxyConnection> {
  if (!channel.isHealthy) throw unhealthy();
  const client = channel.grpc;
  if (!client) throw new GrpcError(Code.Unimplemented, "the application does not speak gRPC");
  const sent = [...metadata, ...channel.grpcMetadata(span.context)];
  if (channel.inbound !== undefined && metadata.some(([name]) => name === "idempotency-key")) {
    const { path, signal } = context;
    const parts = { path, metadata, signal, trace: span.context, bytesMax };
    const whole = onceProxied(channel, channel.inbound, parts);
    return { client, metadata: sent, whole, done: (code) => endSpan(span, code) };
  }
  const release = channel.isUnlimited ? nothingHeld : await holdSlot(channel, context.signal);
  const startedMs = performance.now();
  const done = (code: number): void => {
    release();
    channel.proxied?.(context.path, code, performance.now() - startedMs);
    endSpan(span, code);
  };
  return { client, metadata: sent, done };
}

function peer(context: GrpcContext, callee: GrpcAim, options: GrpcProxyOptions, span: Span): ProxyConnection {
  const { principal, registry, clock, links } = options;
  const { name, id, subset } = callee;
  const { signal } = context;
  const metadata: Metadata = [
    ...forwardedMetadata(context, principal, name.appId),
    ...traceMetadata(span.context),
    [peerFields.app, appField(name)],
  ];
  const trustDomain = options.trustDomain();
  if (trustDomain !== trustDomainDefault) metadata.push([peerFields.trustDomain, trustDomain]);
  // What a route sends nowhere is unavailable, whatever daprd says of an app that nobody knows.
  const { isRouted = false } = callee;
  const attempt = { registry, clock, retry: options.connectRetry(id), name, id, aim: { subset } };
  const balancer = options.balancerOf?.(name, subset);
  const balanced = balancer && new BalancedStreams(context.path, (lowerName) => context.get(lowerName));
  const client: GrpcClient = {
    unary: unproxied,
    stream: unproxied,
    // A stream that could not be opened has carried nothing: the next instance may have it.
    open: (headers, ended = signal) => {
      const one = { ...attempt, request: { signal: ended } };
      const send = (instance: Instance) =>
        links.open(instance, { ...headers, [peerFields.token]: instance.token }, ended);
      const opened = balancer && balanced ? balancer.call(one, balanced, send) : callPeer(one, send);
      return opened.catch((error) => {
        throw error instanceof GrpcError ? error : proxyFailure(error, isRouted);
      });
    },
    close: () => {},
  };
  const done = (code: number): void => {
    balanced?.done(code);
    endSpan(span, code);
  };
  return { client, metadata, done };
}

function unproxied(): never {
  throw new Error("only whole streams are proxied");
}

function proxyFailure(error: unknown, isRouted: boolean): GrpcError {
  const code = error instanceof UnknownApp && !isRouted ? Code.Unknown : Code.Unavailable;
  return new GrpcError(code, failureText(error), { cause: error });
}

function appTarget(id: string, options: GrpcProxyOptions): Extract<Target, { kind: "app" }> {
  try {
    const target = options.resolveTarget(id);
    if (target.kind === "app") return target;
  } catch (error) {
    if (!(error instanceof InvalidTarget)) throw error;
    throw new GrpcError(Code.InvalidArgument, error.message, { cause: error });
  }
  throw new GrpcError(Code.InvalidArgument, `failed to proxy request: ${id} is not an application`);
}

/** Proxied calls are named by their method, as in Dapr. */
function startSpan(context: GrpcContext, { tracer }: Telemetry, kind: "client" | "server"): Span {
  const span = tracer.start(
    context.path,
    kind,
    extractGrpcContext((lowerName) => context.get(lowerName)),
  );
  span.set("dapr.api", context.path);
  span.set("dapr.protocol", "grpc");
  return span;
}

function endSpan(span: Span, code: number): void {
  span.end(code === Code.Ok ? undefined : { code, message: grpcCodeGoName(code) });
}

function nothingHeld(): void {}

/** Takes a slot of the app's concurrency limit; answers how to give it back. */
export function holdSlot(channel: AppChannel, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    channel.withSlot(() => new Promise<void>((release) => resolve(release)), signal).catch(reject);
  });
}
