import { fromBinary, toJsonString } from "@bufbuild/protobuf";
import type { AppChannel, InboundLayer, WholeCall } from "../app/channel.ts";
import { Code, httpStatusOf } from "../errors.ts";
import { encodeRpcStatus } from "../net/grpc/status-details.ts";
import { GrpcError } from "../net/grpc/types.ts";
import { WholeBody } from "../net/http1/body.ts";
import type { Body, Cancellation, HttpReply, HttpRequest, RawHeaders } from "../net/http1/types.ts";
import type { SpanContext } from "../telemetry/telemetry.ts";
import { StatusSchema } from "../wire/dapr/proto/internals/v1/status_pb.js";
import { unhealthy } from "./failure.ts";
import { passAnswer } from "./http-answer.ts";
import { methodOverHttp } from "./method-over-http.ts";
import { callOnInvoke, type MethodAnswer, type MethodCall, protobufType } from "./on-invoke.ts";
import { keptAnswer, onceOnInvoke, onceOverHttp } from "./once-method.ts";
import { headersToMetadata, metadataToHeaders } from "./reserved-names.ts";

/** An HTTP call on its last hop, with headers as the app shall see them (token and trace are the channel's). */
export interface HttpDelivery {
  method: string;
  /** Canonical. */
  target: string;
  headers: RawHeaders;
  body: Body;
  trace: SpanContext | undefined;
  /** May be made when it is first looked at. */
  readonly signal: AbortSignal;
  cancellation: Cancellation | undefined;
}

/** The delivery of a server's request: its signal stays unmade unless somebody needs one. */
export class RequestDelivery implements HttpDelivery {
  readonly method: string;
  readonly target: string;
  readonly headers: RawHeaders;
  readonly body: Body;
  readonly trace: SpanContext | undefined;
  readonly cancellation: Cancellation | undefined;
  readonly #request: HttpRequest;

  constructor(request: HttpRequest, parts: Pick<HttpDelivery, "target" | "headers" | "body" | "trace">) {
    this.#request = request;
    this.method = request.method;
    this.target = parts.target;
    this.headers = parts.headers;
    this.body = parts.body;
    this.trace = parts.trace;
    this.cancellation = request.cancellation;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }
}

/** Hands an HTTP call to an app of this process, whichever protocol it speaks. Errors are failures to reach it. */
export function deliverHttp(
  channel: AppChannel,
  call: HttpDelivery,
  bodyBytesMax: number,
): Promise<HttpReply> {
  if (!channel.isHealthy) throw unhealthy();
  const { inbound } = channel;
  if (inbound === undefined) return deliverNow(channel, call, bodyBytesMax);
  return deliverOnce(channel, inbound, call, bodyBytesMax);
}

async function deliverOnce(
  channel: AppChannel,
  inbound: InboundLayer,
  call: HttpDelivery,
  bodyBytesMax: number,
): Promise<HttpReply> {
  const { method, target, headers, body, trace } = call;
  const reply = await inbound.handle({ method, target, headers, body, trace, bodyBytesMax }, async (whole) =>
    deliverNow(channel, whole === undefined ? call : wholeDelivery(call, whole), bodyBytesMax),
  );
  const answer = channel.protocol === "grpc" ? await keptAnswer(reply) : undefined;
  return answer === undefined ? reply : httpReplyOf(answer);
}

function wholeDelivery(call: HttpDelivery, { body, signal }: WholeCall): HttpDelivery {
  const { method, target, headers, trace } = call;
  return { method, target, headers, trace, signal, cancellation: undefined, body: new WholeBody(body) };
}

function deliverNow(channel: AppChannel, call: HttpDelivery, bodyBytesMax: number): Promise<HttpReply> {
  if (channel.protocol === "grpc") return deliverToGrpc(channel, call, bodyBytesMax);
  if (call.method === "CONNECT") throw new GrpcError(Code.InvalidArgument, "invalid HTTP verb");
  return channel.http(call).then((answer) => passAnswer(answer, call.method));
}

/** Hands a legacy call to an app of this process, whichever protocol it speaks. */
export async function deliverMethod(
  channel: AppChannel,
  call: MethodCall,
  bodyBytesMax: number,
): Promise<MethodAnswer> {
  if (!channel.isHealthy) throw unhealthy();
  const { inbound } = channel;
  if (inbound !== undefined) {
    const once = channel.protocol === "grpc" ? onceOnInvoke : onceOverHttp;
    return once(channel, inbound, call, bodyBytesMax);
  }
  return channel.protocol === "grpc"
    ? callOnInvoke(channel, call)
    : methodOverHttp(channel, call, bodyBytesMax);
}

async function deliverToGrpc(
  channel: AppChannel,
  call: HttpDelivery,
  bodyBytesMax: number,
): Promise<HttpReply> {
  const queryAt = call.target.indexOf("?");
  const path = queryAt < 0 ? call.target : call.target.slice(0, queryAt);
  const answer = await callOnInvoke(channel, {
    method: decodeURIComponent(path.slice(1)),
    data: { typeUrl: "", value: await call.body.bytes(bodyBytesMax) },
    contentType: headerOf(call.headers, "content-type"),
    verb: call.method,
    querystring: queryAt < 0 ? "" : call.target.slice(queryAt + 1),
    metadata: headersToMetadata(call.headers),
    trace: call.trace,
    signal: call.signal,
  });
  return httpReplyOf(answer);
}

/** A gRPC app's answer over HTTP: an error status becomes the mapped HTTP status with the Status as JSON. */
function httpReplyOf(answer: MethodAnswer): HttpReply {
  const headers = metadataToHeaders(answer.headers);
  if (answer.code === Code.Ok) {
    const contentType = answer.data.typeUrl === "" ? answer.contentType : protobufType;
    if (contentType !== "") headers.push("Content-Type", contentType);
    return { status: 200, headers, body: answer.data.value };
  }
  headers.push("Content-Type", "application/json");
  return { status: httpStatusOf(answer.code), headers, body: statusJson(answer) };
}

/** Dapr's own Status message has the fields of google.rpc.Status under the same numbers. */
function statusJson(answer: MethodAnswer): string {
  const status = fromBinary(StatusSchema, encodeRpcStatus(answer));
  try {
    return toJsonString(StatusSchema, status);
  } catch {
    // JSON needs the descriptor of each detail's type: an app's own types are left out.
    return JSON.stringify({ code: answer.code, message: answer.message });
  }
}

function headerOf(raw: RawHeaders, lowerName: string): string {
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] as string).toLowerCase() === lowerName) return raw[i + 1] as string;
  }
  return "";
}
