import { realClock } from "../edges/clock.ts";
import { Code } from "../errors.ts";
import { GrpcError, type GrpcLookup, type GrpcProxyTarget, type Metadata } from "../net/grpc/types.ts";
import type { HttpHandler, HttpReply, HttpRequest } from "../net/http1/types.ts";
import { extractContext, extractGrpcContext } from "../telemetry/propagation.ts";
import type { Span, Telemetry } from "../telemetry/telemetry.ts";
import { serveActorPeer } from "./actor-link.ts";
import { deliverHttp, deliverMethod, RequestDelivery } from "./deliver.ts";
import { appCallFailure, failureText, noRemoteChannel } from "./failure.ts";
import { connectToApp } from "./grpc-proxy.ts";
import { peerRules, upgradeOf } from "./header-rules.ts";
import { type AppName, appText, trustDomainDefault } from "./identity.ts";
import { admitted, admittedMetadata, inboundGrpc, inboundHttp, inboundMethod, type Said } from "./inbound.ts";
import { InvocationMetrics } from "./invocation-metrics.ts";
import type { LocalTarget, LocalTargets } from "./local-targets.ts";
import { canonicalTarget } from "./method-path.ts";
import type { MethodCall } from "./on-invoke.ts";
import { PassingBody } from "./passing-body.ts";
import {
  appField,
  decodeMethodCall,
  encodeMethodAnswer,
  errorReply,
  isToken,
  parseAppField,
  peerFields,
} from "./peer-link.ts";
import { peerMetadata } from "./proxy-metadata.ts";
import { refusedReply } from "./refusal.ts";
import type { PeerCaller, PeerSecurity } from "./security.ts";
import type { SharedSecret } from "./shared-secret.ts";

export interface PeerHandlersOptions {
  apps: LocalTargets;
  /** What this process announces in the registry. */
  token: string;
  settings: { maxBodyBytes: number };
  /** Of the process; spans and metrics of a callee are its own in sidecar mode. */
  telemetry: Telemetry;
  security?: PeerSecurity | undefined;
  /** What peers may show that can not read the registry; `undefined`: nothing, all of them can. */
  outsiders?: () => { secret: SharedSecret | undefined } | undefined;
}

export interface PeerHandlers {
  http: HttpHandler;
  grpc: GrpcLookup;
}

/** What the internal port answers to other mechas: calls for the apps of this process. */
export function createPeerHandlers(options: PeerHandlersOptions): PeerHandlers {
  const { token } = options;
  return {
    http: (request) => serveHttp(request, token, options).catch(errorReply),
    grpc: (path, metadata, connection) => serveGrpc(path, metadata, { token, connection, options }),
  };
}

/** The app a peer asks for. Nothing a caller says is believed before its token was right. */
function calleeOf(
  field: (lowerName: string) => string | undefined,
  { token, connection, options }: Arrival,
): { callee: LocalTarget; caller: PeerCaller } {
  const { apps, security } = options;
  const name = parseAppField(field(peerFields.app));
  const proven = security?.callerOf(connection);
  const said = {
    appId: field("dapr-caller-app-id") ?? "",
    namespace: field("dapr-caller-namespace") ?? "",
    trustDomain: field(peerFields.trustDomain) ?? trustDomainDefault,
  };
  const shown = field(peerFields.token);
  if (!isToken(shown, token)) {
    if (!isOutsider(shown, { said, name, proven }, options)) {
      const text = options.outsiders?.()?.secret === undefined ? notMine : `${notMine}, ${notOurs}`;
      throw new GrpcError(Code.Unauthenticated, text);
    }
    // Actors are found in the store alone: who can not read that has nothing to say to them.
    if (field(peerFields.call) === "actor") throw new GrpcError(Code.PermissionDenied, notForOutsiders);
  }
  // A certificate was shown for one app, whoever else runs in this process.
  const isReached = proven === undefined || (name && security && appText(name) === appText(security.app));
  const callee = name && isReached ? apps.get(name) : undefined;
  if (!callee) {
    const text = name ? appField(name) : "an unnamed app";
    throw new GrpcError(Code.NotFound, `${text} does not run here`);
  }
  if (proven !== undefined && appText(said) !== appText(proven)) {
    const text = `the caller's certificate is that of ${appText(proven)}, and it says it is ${appText(said)}`;
    throw new GrpcError(Code.PermissionDenied, text);
  }
  return { callee, caller: proven ?? said };
}

const notForOutsiders = "actors are called by peers of the same store alone";
const notMine = "this peer token is not mine";
const notOurs =
  "and no proof of the secret that runtimes share: give all of them the same, and look at their clocks";

/** A peer that was not told the token: its certificate is its proof, or that it knows the secret of all. */
function isOutsider(
  shown: string | undefined,
  { said, name, proven }: { said: PeerCaller; name: AppName | undefined; proven: PeerCaller | undefined },
  { outsiders }: PeerHandlersOptions,
): boolean {
  const open = outsiders?.();
  if (open === undefined) return false;
  if (proven !== undefined) return true;
  return name !== undefined && open.secret?.isProof(shown, { caller: said, callee: name }) === true;
}

interface Arrival {
  token: string;
  connection: object | undefined;
  options: PeerHandlersOptions;
}

async function serveHttp(
  request: HttpRequest,
  token: string,
  options: PeerHandlersOptions,
): Promise<HttpReply> {
  const field = (lowerName: string): string | undefined => request.header(lowerName);
  const { callee, caller } = calleeOf(field, { token, connection: request.connection, options });
  const path = request.target.split("?", 1)[0] as string;
  const span = options.telemetry.tracer.start(spanName(callee, path), "server", extractContext(field));
  const answered = metricsOf(callee, options).received(caller.appId);
  try {
    const kind = field(peerFields.call) ?? "";
    if (kind === "") describe(span, path);
    const serve = kind === "actor" ? serveActors : kind === "method" ? serveMethod : servePlain;
    const reply = await serve(request, callee, { caller, span, options });
    span.set("dapr.status_code", String(reply.status));
    span.end(reply.status >= 400 ? { code: 2, message: `Code(${reply.status})` } : undefined);
    answered(String(reply.status));
    return reply;
  } catch (error) {
    span.end({ code: Code.Internal, message: failureText(error) });
    answered(String(error instanceof GrpcError ? error.code : Code.Internal));
    throw error;
  }
}

function spanName({ name }: LocalTarget, path: string): string {
  return `CallLocal/${name.appId}/${path.replace(/^\//, "")}`;
}

function describe(span: Span, path: string): void {
  if (!span.isRecorded) return;
  span.set("rpc.service", "ServiceInvocation");
  span.set("dapr.invoke_method", path.replace(/^\//, ""));
  span.set("dapr.protocol", "http");
}

const metricsByApp = new WeakMap<LocalTarget, InvocationMetrics>();

function metricsOf(callee: LocalTarget, { telemetry }: PeerHandlersOptions): InvocationMetrics {
  let metrics = metricsByApp.get(callee);
  if (!metrics) {
    metrics = new InvocationMetrics(telemetry.metrics, callee.name.appId, realClock);
    metricsByApp.set(callee, metrics);
  }
  return metrics;
}

interface Inbound {
  caller: PeerCaller;
  span: Span;
  options: PeerHandlersOptions;
}

async function servePlain(
  request: HttpRequest,
  callee: LocalTarget,
  { caller, span, options }: Inbound,
): Promise<HttpReply> {
  // The caller's mecha has done this; what a policy judges is made here all the same.
  const target = canonicalTarget(request.target);
  let headers = peerRules.copy(request.rawHeaders);
  const host = request.header(peerFields.host);
  if (host !== undefined) headers.push("Host", host);
  const body = new PassingBody(request.body);
  try {
    const admission = callee.authorize?.(inboundHttp(said(caller), request, { target, headers, body }));
    headers = admitted(headers, admission instanceof Promise ? await admission : admission);
  } catch (error) {
    body.drop();
    return refusedReply(error);
  }
  const channel = channelOf(callee);
  const protocol = upgradeOf((lowerName) => request.header(lowerName));
  if (protocol !== undefined) headers.push("Connection", "Upgrade", "Upgrade", protocol);
  const delivery = new RequestDelivery(request, { target, headers, body: body.whole, trace: span.context });
  try {
    return await deliverHttp(channel, delivery, options.settings.maxBodyBytes);
  } catch (error) {
    throw appCallFailure(error);
  }
}

/** A call of an actor that lives here, or should. */
async function serveActors(
  request: HttpRequest,
  callee: LocalTarget,
  { caller, span, options }: Inbound,
): Promise<HttpReply> {
  if (!callee.actors) throw new GrpcError(Code.Unavailable, "no actors are hosted here");
  const { maxBodyBytes: bodyBytesMax } = options.settings;
  return serveActorPeer(request, callee.actors, { caller, trace: span.context, bodyBytesMax });
}

/** A legacy method call, its answer always 200: what the app said is inside. */
async function serveMethod(
  request: HttpRequest,
  callee: LocalTarget,
  { caller, span, options }: Inbound,
): Promise<HttpReply> {
  const { maxBodyBytes } = options.settings;
  const bytes = await request.body.bytes(maxBodyBytes + methodOverheadBytes);
  const call = withCaller(decodeMethodCall(bytes, span.context, request.signal), caller);
  span.rename(spanName(callee, call.method));
  describe(span, call.method);
  const admission = await callee.authorize?.(inboundMethod(said(caller), call, request.remoteAddress));
  const passed = { ...call, metadata: admittedMetadata(call.metadata, admission) };
  const answer = await deliverMethod(channelOf(callee), passed, maxBodyBytes).catch(rethrowAppFailure);
  return {
    status: 200,
    headers: ["Content-Type", "application/x-protobuf"],
    body: encodeMethodAnswer(answer),
  };
}

/** The names that the app is shown are those of the certificate, where there is one. */
function withCaller(call: MethodCall, { appId, namespace, isProven }: PeerCaller): MethodCall {
  if (!isProven) return call;
  const metadata = call.metadata.filter(([name]) => !/^dapr-caller-(app-id|namespace)$/i.test(name));
  metadata.push(["dapr-caller-app-id", appId], ["dapr-caller-namespace", namespace]);
  return { ...call, metadata };
}

function said({ appId, namespace, trustDomain, isProven }: PeerCaller): Said {
  return { caller: { appId, namespace }, trustDomain, isProven, isSelf: false };
}

/** Room for metadata and framing beside the data. */
const methodOverheadBytes = 256 * 1024;

type Channel = NonNullable<LocalTarget["channel"]>;

function channelOf({ channel }: LocalTarget): Channel {
  if (!channel) throw new GrpcError(Code.Internal, noRemoteChannel);
  return channel;
}

function rethrowAppFailure(error: unknown): never {
  throw appCallFailure(error);
}

function serveGrpc(path: string, metadata: Metadata, arrival: Arrival): GrpcProxyTarget {
  const { telemetry, settings } = arrival.options;
  const field = (wanted: string): string | undefined => metadata.find(([name]) => name === wanted)?.[1];
  // Several of one name are told to the app as well: none of them may be another's.
  const all = (wanted: string): string | undefined => {
    const values = metadata.filter(([name]) => name === wanted);
    return values.length === 0 ? undefined : values.map(([, value]) => value).join(", ");
  };
  const { callee, caller } = calleeOf(all, arrival);
  return {
    kind: "proxy",
    async connect(context) {
      const span = telemetry.tracer.start(path, "server", extractGrpcContext(field));
      try {
        const sent = peerMetadata(context);
        const admission = await callee.authorize?.(inboundGrpc(said(caller), context, sent));
        const { maxBodyBytes: bodyBytesMax } = settings;
        const passed = admittedMetadata(sent, admission);
        return await connectToApp(channelOf(callee), passed, { context, span, bodyBytesMax });
      } catch (error) {
        span.end({ code: Code.Internal, message: failureText(error) });
        throw error;
      }
    },
  };
}
