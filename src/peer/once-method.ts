import type { AppChannel, AppHttpRequest, AppHttpResponse, InboundLayer } from "../app/channel.ts";
import { Code, httpStatusOf } from "../errors.ts";
import { WholeBody } from "../net/http1/body.ts";
import { BodyTooLarge } from "../net/http1/errors.ts";
import type { HttpReply, RawHeaders } from "../net/http1/types.ts";
import { passAnswer } from "./http-answer.ts";
import { methodOverHttp } from "./method-over-http.ts";
import { canonicalMethod, methodTarget } from "./method-path.ts";
import { callOnInvoke, type MethodAnswer, type MethodCall, protobufType } from "./on-invoke.ts";
import { decodeMethodAnswer, encodeMethodAnswer } from "./peer-link.ts";
import { headersToMetadata, metadataToHeaders } from "./reserved-names.ts";

/** How an answer of a gRPC app looks to the layer, which keeps it as bytes: with its status, details and trailers. */
const answerType = "application/x-mecha-method-answer";
const effectsType = /^application\/vnd\.mecha\.effects\+json\b/i;
const replayedHeader = "idempotent-replayed";

/** A legacy method call to an HTTP app through its layer: the same as an HTTP invocation of the method. */
export function onceOverHttp(
  channel: AppChannel,
  inbound: InboundLayer,
  call: MethodCall,
  bodyBytesMax: number,
): Promise<MethodAnswer> {
  const http = async (request: AppHttpRequest): Promise<AppHttpResponse> => {
    const { method, target, headers, trace } = request;
    const body = new WholeBody(call.data.value);
    const reply = await inbound.handle(
      { method, target, headers, body, bodyBytesMax, trace },
      async (whole) => passAnswer(await channel.http({ ...request, ...whole }), method),
    );
    return responseOf(reply, await bytesOf(reply, bodyBytesMax));
  };
  return methodOverHttp({ http }, call, bodyBytesMax);
}

/** A legacy method call to a gRPC app through its layer. */
export async function onceOnInvoke(
  channel: AppChannel,
  inbound: InboundLayer,
  call: MethodCall,
  bodyBytesMax: number,
): Promise<MethodAnswer> {
  const headers = metadataToHeaders(call.metadata);
  const contentType = call.data.typeUrl === "" ? call.contentType : protobufType;
  if (contentType !== "") headers.push("Content-Type", contentType);
  const { verb, querystring, data, trace } = call;
  const target = methodTarget(canonicalMethod(call.method), querystring);
  const body = new WholeBody(data.value);
  const reply = await inbound.handle(
    { method: verb.toUpperCase(), target, headers, body, bodyBytesMax, trace },
    async (whole) =>
      keptReply(await callOnInvoke(channel, { ...call, signal: whole?.signal ?? call.signal })),
  );
  return (await keptAnswer(reply)) ?? plainAnswer(reply, await bytesOf(reply, bodyBytesMax));
}

/** What an HTTP invocation of a gRPC app found under its key: the answer to a legacy call, or `undefined`. */
export async function keptAnswer(reply: HttpReply): Promise<MethodAnswer | undefined> {
  if (headerOf(reply.headers, "content-type") !== answerType) return undefined;
  const answer = decodeMethodAnswer(await bytesOf(reply, Number.POSITIVE_INFINITY));
  const replayed = headerOf(reply.headers, replayedHeader);
  if (replayed !== undefined) answer.headers.push([replayedHeader, replayed]);
  return answer;
}

function keptReply(answer: MethodAnswer): HttpReply {
  if (answer.code === Code.Ok && effectsType.test(answer.contentType)) {
    return { status: 200, headers: ["Content-Type", answer.contentType], body: answer.data.value };
  }
  const headers = ["Content-Type", answerType];
  return { status: httpStatusOf(answer.code), headers, body: encodeMethodAnswer(answer) };
}

/** What the layer answers by itself, and what an HTTP invocation left under the key. */
function plainAnswer({ status, headers }: HttpReply, value: Uint8Array): MethodAnswer {
  return {
    ...{ isHttp: true, code: status, message: "", details: [], trailers: [] },
    headers: headersToMetadata(headers),
    data: { typeUrl: "", value },
    contentType: headerOf(headers, "content-type") ?? "",
  };
}

function responseOf({ status, reason = "", headers }: HttpReply, bytes: Uint8Array): AppHttpResponse {
  const header = (lowerName: string) => headerOf(headers, lowerName);
  return { status, reason, rawHeaders: headers, header, body: new WholeBody(bytes) };
}

export async function bytesOf({ body }: HttpReply, bytesMax: number): Promise<Uint8Array> {
  if (body === undefined) return new Uint8Array(0);
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  const pieces: Uint8Array[] = [];
  let total = 0;
  for await (const piece of body) {
    total += piece.length;
    if (total > bytesMax) throw new BodyTooLarge(bytesMax);
    pieces.push(piece.slice());
  }
  return Buffer.concat(pieces);
}

export function headerOf(raw: RawHeaders, lowerName: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if ((raw[i] as string).toLowerCase() === lowerName) return raw[i + 1];
  }
  return undefined;
}
