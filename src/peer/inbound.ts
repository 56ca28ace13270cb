import type { GrpcContext, Metadata } from "../net/grpc/types.ts";
import type { HttpRequest, RawHeaders } from "../net/http1/types.ts";
import { upgradeOf, withoutNamed } from "./header-rules.ts";
import type { AppName } from "./identity.ts";
import type { Admission, InboundCall } from "./local-targets.ts";
import { headerOf } from "./metadata-header.ts";
import { operationOf } from "./method-path.ts";
import type { MethodCall } from "./on-invoke.ts";
import type { PassingBody } from "./passing-body.ts";

/** Who calls. */
export interface Said {
  caller: AppName;
  trustDomain: string;
  /** A certificate names the caller. */
  isProven?: boolean | undefined;
  isSelf: boolean;
}

/** `headers` as the app would get them; what passes on after it has been judged is `body.whole`. */
export function inboundHttp(
  said: Said,
  request: Pick<HttpRequest, "method" | "remoteAddress" | "header">,
  { target, headers, body }: { target: string; headers: RawHeaders; body: PassingBody },
): InboundCall {
  const queryAt = target.indexOf("?");
  return {
    ...said,
    form: "http",
    operation: queryAt < 0 ? target : target.slice(0, queryAt),
    query: queryAt < 0 ? "" : target.slice(queryAt + 1),
    verb: request.method,
    header: (lowerName) => joined(headers, lowerName),
    lines: () => headers,
    address: request.remoteAddress,
    isUpgrade: () => upgradeOf((lowerName) => request.header(lowerName)) !== undefined,
    bodyStart: (bytesMax) => body.start(bytesMax),
  };
}

export function inboundMethod(said: Said, call: MethodCall, address: string): InboundCall {
  return {
    ...said,
    form: "method",
    operation: operationOf(call.method),
    query: call.querystring,
    verb: call.verb,
    header: headerOf(call.metadata),
    lines: () => call.metadata.flat(),
    address,
    bodyStart: async (bytesMax) => {
      const { value } = call.data;
      return { bytes: value.subarray(0, bytesMax), isWhole: value.byteLength <= bytesMax };
    },
  };
}

export function inboundGrpc(
  said: Said,
  context: Pick<GrpcContext, "path" | "peer" | "contentType" | "requestStart">,
  metadata: Metadata,
): InboundCall {
  return {
    ...said,
    form: "grpc",
    operation: context.path,
    query: "",
    verb: "",
    header: headerOf(metadata),
    lines: () => ["content-type", context.contentType ?? "application/grpc", ...metadata.flat()],
    address: addressOf(context.peer),
    bodyStart: (bytesMax, needsWhole = true) => context.requestStart({ bytesMax, needsWhole }),
  };
}

/** `127.0.0.1:1234` and `[::1]:1234` without their ports. */
function addressOf(peer: string): string {
  return peer.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}

/** Several lines are joined, as a server's request has them. */
function joined(headers: RawHeaders, lowerName: string): string | undefined {
  let value: string | undefined;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() !== lowerName) continue;
    value = value === undefined ? headers[i + 1] : `${value}, ${headers[i + 1]}`;
  }
  return value;
}

/** What the app gets. */
export function admitted(headers: RawHeaders, admission: Admission): RawHeaders {
  if (admission === undefined) return headers;
  return withoutNamed(headers, admission.remove).concat(admission.add);
}

export function admittedMetadata(metadata: Metadata, admission: Admission): Metadata {
  if (admission === undefined) return metadata;
  const kept = metadata.filter(([name]) => !admission.remove.has(name));
  for (let i = 0; i + 1 < admission.add.length; i += 2) {
    kept.push([(admission.add[i] as string).toLowerCase(), admission.add[i + 1] as string]);
  }
  return kept;
}
