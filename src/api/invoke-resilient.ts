import { errors, Fault } from "../errors.ts";
import { AttemptEnd, signalOf } from "../kit/cancellation.ts";
import { TryOwner } from "../kit/try-owner.ts";
import { GrpcError, metadataOfLines } from "../net/grpc/types.ts";
import type { Body, HttpReply, HttpRequest } from "../net/http1/types.ts";
import type { InvokeHttpRequest, InvokeUnaryReply, InvokeUnaryRequest } from "../peer/invoker.ts";
import { notToKeep } from "../policy/cache/reply.ts";
import type { ResiliencePolicy } from "../policy/resilience/policy.ts";
import type { GivenAnswer, Work } from "../policy/use/layer.ts";
import { type PlacedLayers, runPlaced } from "../policy/use/use-policies.ts";
import type { Span } from "../telemetry/telemetry.ts";
import { bytesBody } from "./bytes-body.ts";
import type { AppScope } from "./call.ts";
import { codeOfError, httpShape } from "./http-shape.ts";
import { type CachedInvocation, invokeCached, staleAnswer } from "./invoke-cache.ts";
import { resilienceOf } from "./resilience.ts";

/** Calls an app inside the policies that target it, if there are any; what is kept of earlier answers comes first. */
export function invokeHttp(
  app: AppScope,
  call: CachedInvocation,
  spanOf: () => Span,
): HttpReply | Promise<HttpReply> {
  const send = ({ id, target, request }: CachedInvocation) =>
    invokeUncached(app, { id, target, request, span: spanOf() });
  const cache = app.policies.caches?.at(call.id);
  return cache === undefined ? send(call) : invokeCached(cache, call, send);
}

function invokeUncached(app: AppScope, request: InvokeHttpRequest): Promise<HttpReply> {
  const policies = policiesOf(app, request.id, request.target);
  return policies === undefined ? app.invoker.invokeHttp(request) : attemptHttp(app, policies, request);
}

export function invokeUnary(app: AppScope, request: InvokeUnaryRequest): Promise<InvokeUnaryReply> {
  const policies = policiesOf(app, request.id, request.method);
  if (policies === undefined) return app.invoker.invokeUnary(request);
  const { context } = request;
  const tries = new TryOwner();
  const work: Work<InvokeUnaryReply> = (ended = context.signal) =>
    app.invoker.invokeUnary({ ...request, tries, context: { ...pick(context), signal: signalOf(ended) } });
  const header = (lowerName: string) => context.get(lowerName);
  const use = { operation: request.verb || "POST", names: [canonical(request.method)], header, tries };
  const elsewhere = (id: string, path: string, signal = context.signal) =>
    app.invoker.invokeUnary({
      ...request,
      ...{ id, method: path === "" ? request.method : path, context: { ...pick(context), signal } },
    });
  const options = { signal: context.signal, codeOfError, answer: throwStatus, good: unaryOf, elsewhere };
  return named(request.id, runPlaced(policies, use, work, options));
}

/** What a policy has written, as an app over HTTP would have answered. */
function unaryOf({ headers = [], body = "" }: GivenAnswer): InvokeUnaryReply {
  const data = { typeUrl: "", value: Buffer.from(body) };
  return { data, contentType: headers[1] ?? "", headers: [], trailers: [] };
}

function throwStatus({ fault, headers }: GivenAnswer): never {
  throw new GrpcError(fault.grpc, fault.message, { cause: fault, metadata: metadataOfLines(headers) });
}

function canonical(method: string): string {
  return method.startsWith("/") ? method : `/${method}`;
}

/** Calls of one method of an app share a breaker, as in Dapr; the query is not part of it. */
function policiesOf(app: AppScope, id: string, target: string): Policies | undefined {
  const policies = resilienceOf(app);
  const placed = app.policies.at("invoke", id);
  if (policies === undefined && placed === undefined) return undefined;
  const resilience = policies?.app(id, `${id}:${pathOf(target)}`);
  return resilience === undefined && placed === undefined ? undefined : { resilience, placed };
}

interface Policies {
  resilience: ResiliencePolicy | undefined;
  placed: PlacedLayers | undefined;
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

async function attemptHttp(
  app: AppScope,
  policies: Policies,
  invocation: InvokeHttpRequest,
): Promise<HttpReply> {
  const { id, request } = invocation;
  const { resilience, placed } = policies;
  const isKept = resilience?.hasRetries || placed?.repeats;
  const kept = isKept ? keptBody(request.body, app.settings.maxBodyBytes, id) : undefined;
  const body = kept instanceof Promise ? await kept : kept;
  // A retry goes to an instance that the call has not had yet, where a policy chooses among them.
  const avoid = new Set<string>();
  const tries = placed && new TryOwner();
  const work: Work<HttpReply> = (ended) =>
    app.invoker.invokeHttp({ ...invocation, avoid, tries, request: new Attempt(request, ended, body?.()) });
  const elsewhere = (other: string, path: string, signal: AbortSignal | undefined) => {
    const target = path === "" ? invocation.target : path;
    const sent = new Attempt(request, signal, body?.());
    return app.invoker.invokeHttp({ ...invocation, id: other, target, request: sent }).then(notToKeep);
  };
  const options = {
    ...httpShape,
    get signal() {
      return request.signal;
    },
    cancellation: request.cancellation,
    isRepeatable: body !== undefined,
    elsewhere,
    stale: () => staleAnswer(app.policies.caches, invocation),
  };
  const header = (lowerName: string) => request.header(lowerName);
  const use = {
    ...{ operation: request.method, names: [pathOf(invocation.target)], header },
    previousHosts: avoid,
    tries,
  };
  return named(id, runPlaced(policies, use, work, options));
}

type KeptBody = () => Body;

/** A body that can be sent again; `undefined` when its length is not known: streams are sent once. */
function keptBody(
  body: Body,
  bytesMax: number,
  id: string,
): KeptBody | undefined | Promise<KeptBody | undefined> {
  if (body.size === undefined || body.size > bytesMax) return undefined;
  const failed = (error: unknown): never => {
    throw errors.INVOKE(id, (error as Error).message, { cause: error });
  };
  try {
    const bytes = body.bytes(bytesMax);
    return bytes instanceof Promise ? bytes.then(bodiesOf, failed) : bodiesOf(bytes);
  } catch (error) {
    return failed(error);
  }
}

function bodiesOf(bytes: Uint8Array): KeptBody {
  const body = bytesBody(bytes);
  return () => body;
}

/** The request as one attempt sends it. */
class Attempt implements HttpRequest {
  readonly method: string;
  readonly target: string;
  readonly body: Body;
  readonly remoteAddress: string;
  readonly cancellation: HttpRequest["cancellation"];
  readonly #request: HttpRequest;
  readonly #ended: AbortSignal | AttemptEnd | undefined;

  constructor(request: HttpRequest, ended: AbortSignal | AttemptEnd | undefined, body: Body = request.body) {
    this.#request = request;
    this.#ended = ended;
    this.method = request.method;
    this.target = request.target;
    this.remoteAddress = request.remoteAddress;
    this.body = body;
    const isCallers = ended === undefined;
    this.cancellation = isCallers ? request.cancellation : ended instanceof AttemptEnd ? ended : undefined;
  }

  get rawHeaders(): string[] {
    return this.#request.rawHeaders;
  }

  header(lowerName: string): string | undefined {
    return this.#request.header(lowerName);
  }

  get signal(): AbortSignal {
    return this.#ended === undefined ? this.#request.signal : signalOf(this.#ended);
  }
}

/** A context's fields, which may be getters of its class. */
function pick(context: InvokeUnaryRequest["context"]): InvokeUnaryRequest["context"] {
  const { path, metadata, deadlineMs, signal, peer, replyHeaders, replyTrailers } = context;
  const get = (lowerName: string) => context.get(lowerName);
  return { path, metadata, get, deadlineMs, signal, peer, replyHeaders, replyTrailers };
}

/** An open breaker and a timeout are failures to invoke, in the words of the catalogue. */
async function named<T>(id: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Fault || error instanceof GrpcError) throw error;
    throw errors.INVOKE(id, (error as Error).message, { cause: error });
  }
}
