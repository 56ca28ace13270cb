import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import { TryOwner } from "../../kit/try-owner.ts";
import { noBody, WholeBody } from "../../net/http1/body.ts";
import { headerOf } from "../../net/http1/changed-request.ts";
import type { Body, HttpReply, HttpRequest, RawHeaders } from "../../net/http1/types.ts";
import type { OutgoingCall } from "../forward-http.ts";
import { canonicalTarget } from "../method-path.ts";
import type { Stick } from "../subset.ts";
import { type AttemptShape, claimTries, runAttempts } from "./attempts.ts";
import type { Backend, WeightedBackend } from "./backend.ts";
import { asRouteFailure, checkBackend, chooseBackend, noRule } from "./choice.ts";
import { askedMethod, preflightReply, withCors } from "./cors.ts";
import { changeHeaders } from "./header-change.ts";
import type { HttpFacts, HttpFound, HttpTable } from "./http-table.ts";
import { drawn, type Mirrors, mirrorBodyBytesMax } from "./mirrors.ts";
import { changePath, hostParts, locationOf, type Origin } from "./path-change.ts";
import {
  type PlacedCall,
  placeOf,
  type RoutePlace,
  type RoutePolicies,
  type RoutePolicy,
} from "./route-policy.ts";
import type { CompiledRule } from "./rule.ts";
import { type Session, sessionLine, sessionOf } from "./session.ts";

/** A call that routes decide about. */
export interface RoutedHttp {
  table: HttpTable;
  call: OutgoingCall;
  /** What routes match, when it is not the path of the call: a gateway tells a slash at the end apart. */
  path?: string | undefined;
  /** What is called, for the words of failures. */
  id: string;
  scheme: "http" | "https";
  /** Of what came in by a Gateway. */
  gateway?: RoutePlace | undefined;
}

export interface HttpRouting {
  clock: Clock;
  random: Random;
  mirrors: Mirrors;
  bodyBytesMax: number;
  /** Of the app that calls. */
  namespace: string;
  policies?: RoutePolicies | undefined;
  /** Sends a call to a backend that can be used. */
  send(backend: Backend, call: OutgoingCall): Promise<HttpReply>;
}

/** Finds the rule of a call and does what it says, inside the policies of its Gateway. Throws Faults. */
export async function routeHttp(routed: RoutedHttp, routing: HttpRouting): Promise<HttpReply> {
  const { call, gateway } = routed;
  const policy = gateway && routing.policies?.http(gateway);
  if (policy === undefined) return routeByRule(routed, routing);
  const { request, body, target } = call;
  const kept = policy.repeats ? await keptBytes(body, routing.bodyBytesMax) : undefined;
  const isRepeatable = kept !== undefined || body.size === 0;
  const scope = (): string => scopeOf(routed, call) + (routed.path?.endsWith("/") === true ? "/" : "");
  // By what its rules ask for, which no answer says that it varies by.
  const apartBy = routed.table.headerNames;
  const tries = new TryOwner();
  const placed = { request, target, isRepeatable, scope, apartBy, tries };
  return policy.run(placed, (signal, headers = request.rawHeaders) => {
    const sent = callOf(call, headers, kept === undefined ? body : bodyOf(kept), signal);
    return routeByRule({ ...routed, call: { ...sent, tries } }, routing);
  });
}

/** The origin of a call that names one; calls of an app by its id have none. */
function scopeOf({ scheme }: RoutedHttp, { host }: OutgoingCall): string {
  return host === undefined ? "" : `${scheme}://${host.toLowerCase()}`;
}

async function routeByRule(routed: RoutedHttp, routing: HttpRouting): Promise<HttpReply> {
  const { table, call, id } = routed;
  const { request } = call;
  const facts = factsOf(routed);
  const found = findRule(table, facts, request);
  if (found === undefined) throw noRule(id);
  const { rule, prefix } = found;
  if (rule.cors !== undefined && askedMethod(request) !== undefined)
    return preflightReply(rule.cors, request);
  if (rule.redirect !== undefined) {
    const location = locationOf(rule.redirect, originOf(routed), { ...facts, prefix });
    return { status: rule.redirect.statusCode, headers: ["Location", location] };
  }
  const visit = new Visit(rule, routing, routed);
  const sent = { ...call, ...rewritten(call, rule, facts, prefix) };
  return visit.run(sent);
}

function factsOf({ call: { request, target }, path }: RoutedHttp): HttpFacts {
  const at = target.indexOf("?");
  return {
    path: path ?? (at < 0 ? target : target.slice(0, at)),
    query: at < 0 ? "" : target.slice(at + 1),
    method: request.method,
    hostname: hostParts(request.header("host") ?? "").hostname,
    header: (lowerName) => request.header(lowerName),
  };
}

/** A browser's preflight request is for the rule of the request that it asks about. */
function findRule(table: HttpTable, facts: HttpFacts, request: HttpRequest): HttpFound | undefined {
  const found = table.find(facts);
  const method = found?.rule.cors === undefined ? askedMethod(request) : undefined;
  if (method === undefined) return found;
  const meant = table.find({ ...facts, method });
  return meant?.rule.cors === undefined ? found : meant;
}

function originOf({ call: { request }, scheme }: RoutedHttp): Origin {
  return { scheme, ...hostParts(request.header("host") ?? "") };
}

function rewritten(
  call: OutgoingCall,
  { rewrite }: CompiledRule,
  { query }: HttpFacts,
  prefix: string,
): Partial<OutgoingCall> {
  if (rewrite === undefined) return {};
  const host = rewrite.hostname === "" ? call.host : rewrite.hostname;
  if (rewrite.path === undefined) return { host };
  const before = call.target.split("?", 1)[0] as string;
  const path = canonicalTarget(changePath(before, rewrite.path, prefix));
  return { host, target: query === "" ? path : `${path}?${query}` };
}

/** One request on its way through a rule. */
class Visit {
  readonly #rule: CompiledRule;
  readonly #routing: HttpRouting;
  readonly #routed: RoutedHttp;

  constructor(rule: CompiledRule, routing: HttpRouting, routed: RoutedHttp) {
    this.#rule = rule;
    this.#routing = routing;
    this.#routed = routed;
  }

  async run(arrived: OutgoingCall): Promise<HttpReply> {
    const rule = this.#rule;
    const { random, clock, mirrors } = this.#routing;
    const { request } = arrived;
    const session = rule.session && sessionOf(rule.session, (name) => request.header(name), clock.now());
    const chosen = chooseBackend(rule, () => random.next(), session?.backend);
    const targets = rule.mirrors.length === 0 ? [] : drawn(rule.mirrors, () => random.next());
    const policy = this.#routing.policies?.http(rule.place);
    const inner = this.#policyOf(chosen.backend);
    const repeats = (policy?.repeats ?? false) || (inner?.repeats ?? false);
    const call = owned(arrived, rule, policy ?? inner);
    const kept = await this.#keep(call.body, targets.length > 0, repeats);
    for (const target of targets) {
      if (kept === undefined || kept.length > mirrorBodyBytesMax) break;
      const headers = changeHeaders(request.rawHeaders, rule.requestHeaders);
      mirrors.send((signal) => this.#mirror(target, callOf(call, headers, bodyOf(kept), signal)));
    }
    const parts = { chosen, inner, kept, session };
    if (policy === undefined) return this.#changed(await this.#send(call, parts));
    const reply = await policy.run(this.#placed(call, kept), (signal, headers = request.rawHeaders) =>
      this.#send(callOf(call, headers, call.body, signal), parts),
    );
    return this.#changed(reply);
  }

  #placed(call: OutgoingCall, kept: Uint8Array | undefined): PlacedCall {
    const isRepeatable = kept !== undefined || call.body.size === 0;
    const scope = () => scopeOf(this.#routed, call);
    const { request, target, tries } = call;
    return { request, target, isRepeatable, scope, tries };
  }

  async #send(call: OutgoingCall, parts: SendParts): Promise<HttpReply> {
    const { chosen, inner, kept, session } = parts;
    const rule = this.#rule;
    const { clock, send } = this.#routing;
    const { backend } = chosen;
    const shared = changeHeaders(call.request.rawHeaders, rule.requestHeaders);
    const lines = changeHeaders(shared, chosen.requestHeaders);
    let instanceId = "";
    const stick: Stick | undefined = rule.session && {
      instanceId: session?.instanceId ?? "",
      chosen: (id) => {
        instanceId = id;
      },
    };
    const aim = backend.kind === "app" ? { subset: backend.subset, stick } : undefined;
    const attempt = (signal: AbortSignal | undefined): Promise<HttpReply> => {
      const one = (ended: AbortSignal | undefined, headers = lines): Promise<HttpReply> => {
        const body = kept === undefined ? call.body : bodyOf(kept);
        return send(backend, { ...callOf(call, headers, body, ended), aim }).catch((error) => {
          throw asRouteFailure(error, backend.id);
        });
      };
      if (inner === undefined) return one(signal);
      const placed = this.#placed(callOf(call, lines, call.body, signal), kept);
      return inner.run(placed, (ended = signal, headers = lines) => one(ended, headers));
    };
    const answer = await runAttempts(rule, attempt, shapeOf(call.request, kept !== undefined), clock);
    const reply = withLines(answer, changeHeaders(answer.headers, chosen.responseHeaders));
    if (rule.session === undefined) return reply;
    const isKept = session?.backend === backend.id && session.instanceId === instanceId;
    if (isKept) return reply;
    const now: Session = { backend: backend.id, instanceId, sinceMs: session?.sinceMs ?? clock.now() };
    return withLines(reply, [...reply.headers, ...sessionLine(rule.session, now)]);
  }

  #policyOf(backend: Backend): RoutePolicy | undefined {
    const { policies, namespace } = this.#routing;
    const place = policies && placeOf(backend, namespace);
    return place && policies?.http(place);
  }

  async #mirror(backend: Backend, call: OutgoingCall): Promise<void> {
    checkBackend(backend, this.#rule.label);
    const aim = backend.kind === "app" ? { subset: backend.subset } : undefined;
    const reply = await this.#routing.send(backend, { ...call, aim });
    for await (const _ of streamOf(reply) ?? []);
  }

  /** The bytes of a body that may have to be sent more than once; `undefined`: it is passed as it comes. */
  async #keep(body: Body, isMirrored: boolean, isRepeated: boolean): Promise<Uint8Array | undefined> {
    const { bodyBytesMax } = this.#routing;
    const isRetried = isRepeated || (this.#rule.retry?.attempts ?? 0) > 0;
    const bytesMax = isRetried ? bodyBytesMax : mirrorBodyBytesMax;
    return isRetried || isMirrored ? keptBytes(body, bytesMax) : undefined;
  }

  #changed(reply: HttpReply): HttpReply {
    const { responseHeaders, cors } = this.#rule;
    const headers = changeHeaders(reply.headers, responseHeaders);
    const { request } = this.#routed.call;
    return withLines(reply, cors === undefined ? headers : withCors(cors, request, headers));
  }
}

function withLines(reply: HttpReply, headers: RawHeaders): HttpReply {
  return headers === reply.headers ? reply : { ...reply, headers, isRepeated: false };
}

/** With who decides about its tries, where anybody may. */
function owned(call: OutgoingCall, rule: CompiledRule, policy: RoutePolicy | undefined): OutgoingCall {
  const tries = call.tries ?? (policy && new TryOwner());
  if (tries === undefined) return call;
  claimTries(tries, rule);
  return { ...call, tries };
}

async function keptBytes(body: Body, bytesMax: number): Promise<Uint8Array | undefined> {
  return body.size === undefined || body.size > bytesMax ? undefined : body.bytes(bytesMax);
}

interface SendParts {
  chosen: WeightedBackend;
  /** Of the backend. */
  inner: RoutePolicy | undefined;
  kept: Uint8Array | undefined;
  session: Session | undefined;
}

function bodyOf(bytes: Uint8Array): Body {
  return bytes.length === 0 ? noBody : new WholeBody(bytes);
}

/** The call with other header lines; with a signal of its own it is cut off by that alone. */
function callOf(
  call: OutgoingCall,
  rawHeaders: RawHeaders,
  body: Body,
  signal: AbortSignal | undefined,
): OutgoingCall {
  const { request } = call;
  if (signal === undefined && rawHeaders === request.rawHeaders && body === call.body) return call;
  return { ...call, body, request: new RouteRequest(request, rawHeaders, body, signal) };
}

class RouteRequest implements HttpRequest {
  readonly method: string;
  readonly target: string;
  readonly rawHeaders: RawHeaders;
  readonly body: Body;
  readonly remoteAddress: string;
  readonly cancellation: HttpRequest["cancellation"];
  readonly #request: HttpRequest;
  readonly #signal: AbortSignal | undefined;

  constructor(request: HttpRequest, rawHeaders: RawHeaders, body: Body, signal: AbortSignal | undefined) {
    this.#request = request;
    this.#signal = signal;
    this.method = request.method;
    this.target = request.target;
    this.remoteAddress = request.remoteAddress;
    this.rawHeaders = rawHeaders;
    this.body = body;
    this.cancellation = signal === undefined ? request.cancellation : undefined;
  }

  header(lowerName: string): string | undefined {
    return this.rawHeaders === this.#request.rawHeaders
      ? this.#request.header(lowerName)
      : headerOf(this.rawHeaders, lowerName);
  }

  get signal(): AbortSignal {
    return this.#signal ?? this.#request.signal;
  }
}

function shapeOf(request: HttpRequest, isRepeatable: boolean): AttemptShape<HttpReply> {
  return {
    get signal() {
      return request.signal;
    },
    isRepeatable,
    statusOf: ({ status }) => status,
    dispose(reply) {
      const ended = streamOf(reply)?.[Symbol.asyncIterator]().return?.();
      ended?.catch(() => {});
    },
    whenEnded(reply, end) {
      const stream = streamOf(reply);
      if (stream !== undefined) return { ...reply, body: untilEnd(stream, end) };
      end();
      return reply;
    },
  };
}

function streamOf({ body }: HttpReply): AsyncIterable<Uint8Array> | undefined {
  return body === undefined || typeof body === "string" || body instanceof Uint8Array ? undefined : body;
}

async function* untilEnd(stream: AsyncIterable<Uint8Array>, end: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } finally {
    end();
  }
}
