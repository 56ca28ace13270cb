import { errors, Fault } from "../errors.ts";
import { GrpcError } from "../net/grpc/types.ts";
import type { HttpReply, HttpRequest } from "../net/http1/types.ts";
import type { InvokeHttpRequest } from "../peer/invoker.ts";
import { canonicalTarget } from "../peer/method-path.ts";
import type { PlacedCall } from "../peer/routes/route-policy.ts";
import type { HttpCaches, RequestCache } from "../policy/cache/http-caches.ts";
import type { CacheReply, CacheRequest, Change, Send } from "../policy/cache/reply.ts";
import { bytesBody } from "./bytes-body.ts";

/** A call whose span is made only when it is sent. */
export type CachedInvocation = Omit<InvokeHttpRequest, "span">;

/** A call through the cache of its target. */
export function invokeCached(
  cache: RequestCache,
  invocation: CachedInvocation,
  next: (invocation: CachedInvocation) => Promise<HttpReply>,
): HttpReply | Promise<HttpReply> {
  let request: CacheRequest;
  try {
    request = new CachedCall(invocation.request, canonicalTarget(invocation.target));
  } catch {
    // No path that could be called: whoever calls says so.
    return next(invocation);
  }
  const send: Send = (change) => {
    if (change === undefined) return next(invocation);
    const target = change.instead?.target ?? invocation.target;
    return next({ ...invocation, target, request: changed(invocation.request, change) });
  };
  const reply = cache.handle(request, send);
  return reply instanceof Promise ? reply.then(undefined, (error) => failed(invocation.id, error)) : reply;
}

/** What is kept for a call that would end with an error. */
export async function staleAnswer(
  caches: HttpCaches | undefined,
  { id, target, request }: CachedInvocation,
): Promise<HttpReply | undefined> {
  return caches?.at(id)?.lastResort?.(new CachedCall(request, canonicalTarget(target)));
}

/** What the cache looks at; the signal, which is dear, only when it is asked for. */
export class CachedCall implements CacheRequest {
  readonly method: string;
  readonly target: string;
  readonly scope: string;
  readonly apartBy: readonly string[] | undefined;
  readonly #request: HttpRequest;

  constructor(request: HttpRequest, target: string, placed?: PlacedCall) {
    this.method = request.method;
    this.target = target;
    this.scope = placed?.scope() ?? "";
    this.apartBy = placed?.apartBy;
    this.#request = request;
  }

  get rawHeaders(): readonly string[] {
    return this.#request.rawHeaders;
  }

  get hasBody(): boolean {
    return this.#request.body.size !== 0;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  header(lowerName: string): string | undefined {
    return this.#request.header(lowerName);
  }
}

/** The request with other header lines, or for others than its own caller. */
export function changed(request: HttpRequest, { headers, signal, instead }: Change): HttpRequest {
  const { method, target, body, remoteAddress } = request;
  const rawHeaders = headers ?? request.rawHeaders;
  const header = (lowerName: string) => request.header(lowerName);
  const asked = { method, target, rawHeaders, header, body, remoteAddress, signal: signal ?? request.signal };
  if (instead === undefined) return asked;
  const lines = instead.body.length === 0 ? rawHeaders : [...rawHeaders, "Content-Type", "application/json"];
  return { ...asked, method: instead.method, rawHeaders: lines, body: bytesBody(instead.body) };
}

function failed(id: string, error: unknown): CacheReply {
  if (error instanceof Fault || error instanceof GrpcError) throw error;
  throw errors.INVOKE(id, (error as Error)?.message ?? "the caller has left", { cause: error });
}
