import type { AppChannel, AppHttpResponse } from "../app/channel.ts";
import { Code } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import { answerRules } from "./header-rules.ts";
import { canonicalMethod, methodTarget } from "./method-path.ts";
import { type MethodAnswer, type MethodCall, noData, protobufType } from "./on-invoke.ts";
import { headersToMetadata, metadataToHeaders } from "./reserved-names.ts";

const verbs = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"]);

/** A legacy method call made as an HTTP request: `channel` is an app's or leads outside. */
export async function methodOverHttp(
  channel: Pick<AppChannel, "http">,
  call: MethodCall,
  bodyBytesMax: number,
): Promise<MethodAnswer> {
  const verb = call.verb.toUpperCase();
  if (!verbs.has(verb)) throw new GrpcError(Code.InvalidArgument, missingVerb(verb));
  const headers = metadataToHeaders(call.metadata);
  const contentType = call.data.typeUrl === "" ? call.contentType : protobufType;
  if (contentType !== "") headers.push("Content-Type", contentType);
  const response = await channel.http({
    method: verb,
    target: methodTarget(canonicalMethod(call.method), call.querystring),
    headers,
    body: call.data.value,
    trace: call.trace,
    signal: call.signal,
  });
  return {
    isHttp: true,
    code: response.status,
    message: "",
    details: [],
    headers: headersToMetadata(answerRules.copy(response.rawHeaders)),
    trailers: [],
    data: { typeUrl: "", value: await wholeAnswer(response, verb, bodyBytesMax) },
    contentType: response.header("content-type") ?? "",
  };
}

function wholeAnswer(
  response: AppHttpResponse,
  verb: string,
  bodyBytesMax: number,
): Uint8Array | Promise<Uint8Array> {
  return verb === "HEAD" ? noData.value : response.body.bytes(bodyBytesMax);
}

function missingVerb(verb: string): string {
  return verb === "" ? "missing HTTP extension field" : "invalid HTTP verb";
}
