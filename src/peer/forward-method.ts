import type { AppChannel } from "../app/channel.ts";
import { Code } from "../errors.ts";
import { GrpcError, metadataOfLines } from "../net/grpc/types.ts";
import { balancedMethod } from "./balance/calls.ts";
import { deliverMethod } from "./deliver.ts";
import { appCallFailure, noOwnChannel, noRemoteChannel } from "./failure.ts";
import { externalHeaders, externalPath, type ForwardOptions, traceLines } from "./forward-http.ts";
import { identityLines } from "./identity.ts";
import { admittedMetadata, inboundMethod, type Said } from "./inbound.ts";
import type { LocalTarget } from "./local-targets.ts";
import { methodOverHttp } from "./method-over-http.ts";
import type { MethodAnswer, MethodCall } from "./on-invoke.ts";
import {
  appField,
  decodeMethodAnswer,
  encodeMethodCall,
  errorOfAnswer,
  methodCallTarget,
  peerFields,
  trustDomainLines,
} from "./peer-link.ts";
import type { Instance } from "./registry.ts";
import { callPeer } from "./retry.ts";
import { addressTo } from "./security.ts";
import type { Aim } from "./subset.ts";
import type { Target } from "./target.ts";

/** Room for metadata and framing of an answer beside its data. */
const answerOverheadBytes = 256 * 1024;

export async function methodToSelf(call: MethodCall, options: ForwardOptions): Promise<MethodAnswer> {
  const { channel, principal, bodyBytesMax } = options;
  if (!channel) throw new Error(noOwnChannel);
  const stamped = {
    ...call,
    metadata: [...call.metadata, ...metadataOfLines(identityLines(principal, principal.appId))],
  };
  const authorize = options.registry.local.get(principal)?.authorize;
  const said = { caller: principal, trustDomain: options.trustDomain(), isSelf: true };
  return deliverMethod(channel, await admitMethod(authorize, said, stamped), bodyBytesMax);
}

/** The call as the callee's policies let it in. */
async function admitMethod(
  authorize: LocalTarget["authorize"],
  said: Said,
  call: MethodCall,
): Promise<MethodCall> {
  // Who called is not known by an address here: it is this process.
  const admission = await authorize?.(inboundMethod(said, call, ""));
  return admission === undefined ? call : { ...call, metadata: admittedMetadata(call.metadata, admission) };
}

export async function methodToLocal(
  call: MethodCall,
  callee: LocalTarget,
  options: ForwardOptions,
): Promise<MethodAnswer> {
  if (!callee.channel) throw new GrpcError(Code.Internal, noRemoteChannel);
  const { principal: caller } = options;
  const said = { caller, trustDomain: options.trustDomain(), isSelf: false };
  const stamped = await admitMethod(callee.authorize, said, stamp(call, callee.name.appId, options));
  try {
    return await deliverMethod(callee.channel, stamped, options.bodyBytesMax);
  } catch (error) {
    throw appCallFailure(error);
  }
}

export function methodToPeer(
  call: MethodCall & { signal: AbortSignal },
  { name, id }: Extract<Target, { kind: "app" }>,
  options: ForwardOptions,
  aim?: Aim,
): Promise<MethodAnswer> {
  const { registry, clock, httpClient, bodyBytesMax } = options;
  const body = encodeMethodCall(stamp(call, name.appId, options));
  const headers = [
    ...identityLines(options.principal, name.appId),
    ...[peerFields.app, appField(name), peerFields.call, "method"],
    ...trustDomainLines(options.trustDomain()),
    ...traceLines(call.trace),
  ];
  const balancer = options.balancerOf?.(name, aim?.subset);
  const send = async (instance: Instance): Promise<MethodAnswer> => {
    const response = await httpClient.request(addressTo(instance, options.security), {
      method: "POST",
      target: methodCallTarget,
      headers: headers.concat(peerFields.token, instance.token),
      body,
      signal: call.signal,
      limits: balancer?.connection,
    });
    const failure = errorOfAnswer((lowerName) => response.header(lowerName));
    if (failure) throw failure;
    return decodeMethodAnswer(await response.body.bytes(bodyBytesMax + answerOverheadBytes));
  };
  const retry = options.connectRetry(id);
  const attempt = { registry, clock, retry, name, id, request: call, aim };
  return balancer === undefined
    ? callPeer(attempt, send)
    : balancer.call(attempt, balancedMethod(call), send);
}

/** To an HTTPEndpoint or URL. */
export function methodOutside(
  call: MethodCall & { signal: AbortSignal },
  target: Extract<Target, { kind: "external" }>,
  { httpClient, bodyBytesMax }: ForwardOptions,
): Promise<MethodAnswer> {
  const outside: Pick<AppChannel, "http"> = {
    http: (request) =>
      httpClient.request(target.address, {
        method: request.method,
        target: externalPath(target, request.target),
        headers: externalHeaders(request.headers, target, call.trace),
        body: request.body,
        signal: call.signal,
      }),
  };
  return methodOverHttp(outside, call, bodyBytesMax);
}

function stamp(call: MethodCall, calleeAppId: string, { principal, forwarded }: ForwardOptions): MethodCall {
  const lines = [...forwarded, ...identityLines(principal, calleeAppId)];
  return { ...call, metadata: [...call.metadata, ...metadataOfLines(lines)] };
}
