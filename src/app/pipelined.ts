import { WholeBody } from "../net/http1/body.ts";
import { headerOf, StreamedBody } from "../net/http1/changed-request.ts";
import type { Body, HttpHandler, HttpReply, HttpRequest } from "../net/http1/types.ts";
import type { AppHttpRequest, AppHttpResponse } from "./channel.ts";

/** Middleware before an app's own HTTP server. */
export interface AppPipeline {
  readonly isEmpty: boolean;
  run(request: HttpRequest, last: HttpHandler): HttpReply | Promise<HttpReply>;
}

type Send = (request: AppHttpRequest) => Promise<AppHttpResponse>;

/** Sends a call through the pipeline: what comes out of it goes to the app, what it answers is taken for the app's. */
export async function sendThrough(
  pipeline: AppPipeline,
  call: AppHttpRequest,
  send: Send,
): Promise<AppHttpResponse> {
  const reply = await pipeline.run(requestOf(call), async (request) => {
    const { method, target, rawHeaders: headers, body } = request;
    return replyOf(await send({ ...call, method, target, headers, body }));
  });
  return responseOf(reply);
}

function requestOf(call: AppHttpRequest): HttpRequest {
  const { method, target, headers, cancellation } = call;
  return {
    method,
    target,
    rawHeaders: headers,
    header: (lowerName) => headerOf(headers, lowerName),
    body: bodyOf(call.body),
    remoteAddress: "",
    cancellation,
    get signal() {
      return call.signal ?? new AbortController().signal;
    },
  };
}

function replyOf({ status, reason, rawHeaders, body, takeOver }: AppHttpResponse): HttpReply {
  return { status, reason, headers: rawHeaders, body, takeOver };
}

function responseOf({ status, reason = "", headers, body, takeOver }: HttpReply): AppHttpResponse {
  return {
    status,
    reason,
    rawHeaders: headers,
    header: (lowerName) => headerOf(headers, lowerName),
    body: bodyOf(body),
    takeOver,
  };
}

function bodyOf(body: AppHttpRequest["body"]): Body {
  if (body === undefined) return new WholeBody(new Uint8Array(0));
  if (typeof body === "string") return new WholeBody(Buffer.from(body));
  if (body instanceof Uint8Array) return new WholeBody(body);
  return "bytes" in body ? body : new StreamedBody(body);
}
