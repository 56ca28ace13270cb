import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { Code } from "../errors.ts";
import { GrpcError, type Metadata } from "../net/grpc/types.ts";
import type { HttpReply } from "../net/http1/types.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import { HTTPExtension_Verb } from "../wire/dapr/proto/common/v1/common_pb.js";
import {
  InternalInvokeRequestSchema,
  InternalInvokeResponseSchema,
  type ListStringValue,
} from "../wire/dapr/proto/internals/v1/service_invocation_pb.js";
import { failureText, RefusedCall } from "./failure.ts";
import { type AppName, trustDomainDefault } from "./identity.ts";
import { httpExtensionOf, type MethodAnswer, type MethodCall, noData } from "./on-invoke.ts";
import { Refusal } from "./refusal.ts";

/**
 * What one mecha says to another on the internal port. HTTP calls travel as themselves, legacy method calls as a
 * POST of Dapr's InternalInvokeRequest, proxied gRPC calls as themselves; these fields come on top, and no app ever
 * sees or sets them.
 */
export const peerFields = {
  /** The callee's token from the registry. */
  token: "mecha-peer-token",
  /** `namespace/app`: one process may run several apps. */
  app: "mecha-peer-app",
  /** The caller's; absent for the default one. */
  trustDomain: "mecha-peer-trust-domain",
  /** What the app shall see as the host. */
  host: "mecha-peer-host",
  /** `method`: the body is an InternalInvokeRequest. */
  call: "mecha-peer-call",
  /** On an answer that is no app's: the gRPC code and the percent-encoded message. */
  errorCode: "mecha-peer-error",
  errorMessage: "mecha-peer-message",
  /** Of a call that is refused for now: the HTTP status its caller gets to see. */
  errorStatus: "mecha-peer-status",
  /** Of a call that a policy of the callee does not let in: the same. */
  refusalStatus: "mecha-peer-refusal",
} as const;

export const methodCallTarget = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";

/** What a callee says of its limits. */
const refusalHeaders = ["Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

const messageCharsMax = 2000;

export function appField({ namespace, appId }: AppName): string {
  return `${namespace}/${appId}`;
}

/** The lines that name the caller's trust domain. */
export function trustDomainLines(trustDomain: string): string[] {
  return trustDomain === trustDomainDefault ? [] : [peerFields.trustDomain, trustDomain];
}

const appNames = new Map<string, AppName>();
/** Names come from outside. */
const appNamesMax = 1000;

export function parseAppField(text: string | undefined): AppName | undefined {
  if (text === undefined) return undefined;
  const known = appNames.get(text);
  if (known !== undefined) return known;
  const [namespace, appId, ...rest] = text.split("/");
  if (!namespace || !appId || rest.length > 0) return undefined;
  const name = { namespace, appId };
  if (appNames.size < appNamesMax) appNames.set(text, name);
  return name;
}

/** Compares in a time that does not depend on how much of the token is right. */
export function isToken(presented: string | undefined, expected: string): boolean {
  if (presented?.length !== expected.length) return false;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) difference |= presented.charCodeAt(i) ^ expected.charCodeAt(i);
  return difference === 0;
}

/** The reply that names a failure on the callee's side. */
export function errorReply(error: unknown): HttpReply {
  const code = error instanceof GrpcError ? error.code : Code.Internal;
  const message = error instanceof GrpcError ? error.message : failureText(error);
  return {
    status: 500,
    headers: [
      peerFields.errorCode,
      String(code),
      peerFields.errorMessage,
      encodeURIComponent(message.slice(0, messageCharsMax).toWellFormed()),
      ...(error instanceof RefusedCall ? [peerFields.errorStatus, String(error.http), ...error.headers] : []),
      ...(error instanceof Refusal ? [peerFields.refusalStatus, String(error.reply.status)] : []),
    ],
  };
}

/** The failure an answer names; `undefined` for an app's own answer. */
export function errorOfAnswer(header: (lowerName: string) => string | undefined): GrpcError | undefined {
  const code = header(peerFields.errorCode);
  if (code === undefined) return undefined;
  const message = decodeURIComponent(header(peerFields.errorMessage) ?? "");
  const refusal = header(peerFields.refusalStatus);
  if (refusal !== undefined)
    return new Refusal(Number(code) as Code, { status: Number(refusal), headers: [] }, message);
  const status = header(peerFields.errorStatus);
  if (status === undefined) return new GrpcError(Number(code), message);
  const headers = refusalHeaders.flatMap((name) => {
    const value = header(name.toLowerCase());
    return value === undefined ? [] : [name, value];
  });
  return new RefusedCall(message, { http: Number(status), headers });
}

export function encodeMethodCall(call: MethodCall): Uint8Array {
  return toBinary(
    InternalInvokeRequestSchema,
    create(InternalInvokeRequestSchema, {
      ver: 1,
      metadata: toLists(call.metadata),
      message: {
        method: call.method,
        data: call.data,
        contentType: call.contentType,
        ...httpExtensionOf(call),
      },
    }),
  );
}

export function decodeMethodCall(
  bytes: Uint8Array,
  trace: SpanContext | undefined,
  signal: AbortSignal,
): MethodCall {
  const { metadata, message } = fromBinary(InternalInvokeRequestSchema, bytes);
  const extension = message?.httpExtension;
  return {
    method: message?.method ?? "",
    data: message?.data ?? noData,
    contentType: message?.contentType ?? "",
    verb: extension === undefined ? "" : HTTPExtension_Verb[extension.verb],
    querystring: extension?.querystring ?? "",
    metadata: fromLists(metadata),
    trace,
    signal,
  };
}

export function encodeMethodAnswer(answer: MethodAnswer): Uint8Array {
  return toBinary(
    InternalInvokeResponseSchema,
    create(InternalInvokeResponseSchema, {
      status: {
        code: answer.code,
        message: answer.message,
        details: answer.details.map((detail) => fromBinary(AnySchema, detail)),
      },
      headers: toLists(answer.headers),
      trailers: toLists(answer.trailers),
      message: { data: answer.data, contentType: answer.contentType },
    }),
  );
}

export function decodeMethodAnswer(bytes: Uint8Array): MethodAnswer {
  const { status, headers, trailers, message } = fromBinary(InternalInvokeResponseSchema, bytes);
  const code = status?.code ?? Code.Unknown;
  return {
    // gRPC codes end at 16, HTTP statuses begin at 100.
    isHttp: code >= 100,
    code,
    message: status?.message ?? "",
    details: (status?.details ?? []).map((detail) => toBinary(AnySchema, detail)),
    headers: fromLists(headers),
    trailers: fromLists(trailers),
    data: message?.data ?? noData,
    contentType: message?.contentType ?? "",
  };
}

function toLists(metadata: Metadata): Record<string, { values: string[] }> {
  const lists: Record<string, { values: string[] }> = Object.create(null);
  for (const [name, value] of metadata) {
    const list = lists[name];
    if (list) list.values.push(value);
    else lists[name] = { values: [value] };
  }
  return { ...lists };
}

function fromLists(lists: Record<string, ListStringValue>): Metadata {
  const metadata: Metadata = [];
  for (const name in lists) for (const value of lists[name]?.values ?? []) metadata.push([name, value]);
  return metadata;
}
