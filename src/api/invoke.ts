import { errors } from "../errors.ts";
import type { HttpReply } from "../net/http1/types.ts";
import { isTraced } from "../policy/trace.ts";
import type { Span } from "../telemetry/telemetry.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { HttpCall } from "./call.ts";
import { failures } from "./docs.ts";
import { invokeHttp, invokeUnary } from "./invoke-resilient.ts";
import { httpOnly, operation } from "./operation.ts";

const group = { name: "invoke", version: "v1.0" };
const prefix = "/v1.0/invoke/";
const untidyPrefix = /^\/+v1\.0\/+invoke\/+/;
const noBytes = new Uint8Array(0);

/** By the numbers of HTTPExtension.Verb. */
const verbs = ["NONE", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

const docs = {
  summary: "Call a method of another app; the reply is the app's own",
  headers: { "dapr-app-id": { description: "The app to call; then the whole path is the method" } },
  replies: failures({
    403: "An access policy of the callee refuses the call",
    404: "ERR_DIRECT_INVOKE: no app id was given",
    500: "ERR_DIRECT_INVOKE: the call failed",
  }),
};

export const invokeMethod = httpOnly({
  name: "InvokeService",
  group,
  verbs: "any",
  path: "/v1.0/invoke/{id}/method/{method...}",
  handle: forward,
  docs,
});

/** Every path nobody else serves: the app id then comes in a header, as Dapr's SDKs and plain HTTP clients send it. */
export const invokeFallback = httpOnly({
  name: "InvokeService",
  group,
  verbs: "any",
  path: "/{path...}",
  handle: forward,
  docs,
});

export const invokeService = operation(Dapr.method.invokeService, {
  name: "InvokeService",
  group,
  async handle({ id, message }, call) {
    const { grpc } = call;
    if (grpc === undefined) throw errors.INVOKE_NOT_READY();
    if (message === undefined) throw errors.INVOKE(id, "message is required");
    const { method, data, contentType, httpExtension } = message;
    if (call.span.isRecorded) describe(call.span, id, method);
    const reply = await invokeUnary(call.app, {
      id,
      method,
      data: data ?? { typeUrl: "", value: noBytes },
      contentType,
      verb: httpExtension === undefined ? "" : (verbs[httpExtension.verb] ?? "NONE"),
      querystring: httpExtension?.querystring ?? "",
      context: grpc,
      span: call.span,
    });
    for (const [name, value] of reply.headers) call.setReplyHeader(name, value);
    grpc.replyTrailers.push(...reply.trailers);
    return { data: reply.data, contentType: reply.contentType };
  },
});

function forward(http: HttpCall): HttpReply | Promise<HttpReply> {
  const { app, request } = http;
  const { id, target } = invocationOf(request.target, (name) => http.header(name));
  if (id === "") throw errors.INVOKE_NO_APP_ID();
  if (isTraced(app.configuration.tracing) && http.span.isRecorded) {
    describe(http.span, id, target.split("?", 1)[0] as string);
  }
  return invokeHttp(app, { id, target, request }, () => http.span);
}

/** Invocations are named by what they call, whatever path or protocol they came by (dapr-api.md §16.2). */
function describe(span: Span, id: string, method: string): void {
  span.rename(`CallLocal/${id}/${method.replace(/^\//, "")}`);
  span.set("rpc.service", "ServiceInvocation");
  span.set("net.peer.name", id);
}

/**
 * Whom a raw request target calls, and the raw method path. A header wins over the path. The path is searched as it
 * was sent, because an id may be a URL with slashes in it: `/v1.0/invoke/http://host:80/method/x`.
 */
export function invocationOf(
  rawTarget: string,
  header: (lowerName: string) => string | undefined,
): { id: string; target: string } {
  const named = header("dapr-app-id") || appIdOfBasicAuth(header("authorization"));
  if (named) return { id: named, target: rawTarget.startsWith("/") ? rawTarget : `/${rawTarget}` };
  const rest = invokedPath(rawTarget);
  const query = rest.indexOf("?");
  const split = rest.indexOf("/method/");
  if (split <= 0 || (query >= 0 && query < split)) return { id: "", target: "" };
  return { id: decodeId(rest.slice(0, split)), target: rest.slice(split + "/method".length) };
}

function invokedPath(rawTarget: string): string {
  if (rawTarget.startsWith(prefix)) return rawTarget.slice(prefix.length);
  const untidy = untidyPrefix.exec(rawTarget);
  return untidy === null ? "" : rawTarget.slice(untidy[0].length);
}

function decodeId(raw: string): string {
  if (!raw.includes("%") && !raw.includes("+")) return raw;
  try {
    return decodeURIComponent(raw.replaceAll("+", " "));
  } catch {
    return raw;
  }
}

function appIdOfBasicAuth(authorization: string | undefined): string | undefined {
  if (!authorization?.startsWith("Basic ")) return undefined;
  const [user, password, ...more] = Buffer.from(authorization.slice(6), "base64").toString("utf8").split(":");
  return user === "dapr-app-id" && more.length === 0 ? password : undefined;
}
