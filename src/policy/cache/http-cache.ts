import type { CacheSpec } from "../../resource/traffic.ts";
import { type Found, isVariants, type Purge, type Variants } from "./answer-store.ts";
import { noDirectives, parseCacheControl } from "./cache-control.ts";
import { alsoChanged, answerKey, variantKey } from "./cache-key.ts";
import type { CacheMeter } from "./cache-meter.ts";
import { type Asked, type Fetched, Fetcher, type FetcherOptions } from "./fetcher.ts";
import { Flights } from "./flights.ts";
import { lineOf } from "./header-lines.ts";
import {
  type CacheReply,
  type CacheRequest,
  dispose,
  forCaller,
  notToKeep,
  type Send,
  StoredReplies,
  storedReply,
  withStatus,
} from "./reply.ts";
import { hasAuthorization, hasCondition, hasControl, isBeyond, signsOf } from "./request-signs.ts";
import { credentials } from "./storable.ts";
import { ageMs, type StoredAnswer } from "./stored.ts";
import { hasSameValues, valuesUnder } from "./vary.ts";
import { judgeStored } from "./verdict.ts";

export interface HttpCacheOptions extends FetcherOptions {
  /** What the policy is for: an app id or an endpoint. */
  id: string;
  spec: CacheSpec;
  /** Equal requests in flight share one call. */
  collapses: boolean;
  meter: CacheMeter;
  /** What a caller gets who takes stored answers only. */
  notCached(): CacheReply;
}

/** One request on its way through. */
interface Look extends Asked {
  signs: number;
}

/** Refreshes behind callers' backs at once, and how long one may take. */
const refreshesMax = 64;
const refreshMaxMs = 60_000;
/** How long requests of a key are not collapsed after an answer turned out to be for one caller only. */
const apartMs = 5_000;
const apartMax = 1000;

type Reply = CacheReply | Promise<CacheReply>;

/** Answers of one target kept for later callers: a shared cache (RFC 9111). */
export class HttpCache {
  readonly #options: HttpCacheOptions;
  readonly #fetcher: Fetcher;
  readonly #replies = new StoredReplies();
  readonly #flights = new Flights<Fetched>();
  readonly #refreshing = new Set<string>();
  readonly #apartUntil = new Map<string, number>();
  readonly #isKeyedByAuthorization: boolean;

  constructor(options: HttpCacheOptions) {
    this.#options = options;
    this.#fetcher = new Fetcher(options);
    this.#isKeyedByAuthorization = options.spec.key.headers.includes("authorization");
  }

  get id(): string {
    return this.#options.id;
  }

  handle(request: CacheRequest, send: Send): Reply {
    const { method } = request;
    const { spec, store } = this.#options;
    if (method !== "GET" && method !== "HEAD") return this.#write(request, send);
    const signs = signsOf(request.rawHeaders);
    if (this.#passesBy(request, signs)) return this.#pass(send);
    const isTold = (signs & hasControl) !== 0 && !spec.ignoreRequestCacheControl;
    const asked = isTold ? parseCacheControl(request.header("cache-control")) : noDirectives;
    const look: Look = { request, send, key: this.#keyOf(request), asked, signs };
    const found = store.get(look.key);
    return found instanceof Promise
      ? found.then((later) => this.#found(look, later))
      : this.#found(look, found);
  }

  /** What is kept, however old, for a caller who would get an error otherwise. */
  async lastResort(request: CacheRequest): Promise<CacheReply | undefined> {
    const { store, clock, meter } = this.#options;
    const signs = signsOf(request.rawHeaders);
    const isRead = request.method === "GET" || request.method === "HEAD";
    if (!isRead || this.#passesBy(request, signs)) return undefined;
    const key = this.#keyOf(request);
    const found = await store.get(key);
    const stored = found && isVariants(found) ? await this.#variant(key, found, request) : found;
    if (stored === undefined || isVariants(stored) || stored.mustRevalidate) return undefined;
    const age = ageMs(stored, clock.now());
    if (!Number.isFinite(age)) return undefined;
    meter.count("stale");
    const ttl = Math.floor((stored.lifetimeMs - age) / 1000);
    // Whole: the conditions of the request may be those of a cache that asks.
    return notToKeep(storedReply(stored, age, `hit; ttl=${ttl}; detail=fallback`));
  }

  async purge(purge: Purge): Promise<number | undefined> {
    this.#fetcher.changes.noteAll();
    this.#flights.forgetAll();
    return this.#options.store.purge(purge);
  }

  #passesBy(request: CacheRequest, signs: number): boolean {
    const { spec } = this.#options;
    if ((signs & isBeyond) !== 0 || request.hasBody || !spec.methods.includes(request.method)) return true;
    // With a lifetime of the policy's, nobody has said that the answer for this person is for everybody.
    if ((signs & hasAuthorization) === 0 || spec.ttlMs === undefined || this.#isKeyedByAuthorization)
      return false;
    return credentials((name) => request.header(name));
  }

  async #pass(send: Send): Promise<CacheReply> {
    this.#options.meter.count("bypass");
    return withStatus(await send(), "fwd=bypass");
  }

  /** What changes something makes untrue what is kept of it (RFC 9111 §4.4). */
  async #write(request: CacheRequest, send: Send): Promise<CacheReply> {
    const { method, target } = request;
    const reply = await send();
    if (method === "OPTIONS" || method === "TRACE") return reply;
    if (reply.status < 200 || reply.status >= 400) return withStatus(reply, "fwd=method");
    this.#changed(request, target);
    for (const name of ["location", "content-location"]) {
      const reference = lineOf(reply.headers, name);
      const other = reference && alsoChanged(target, request.header("host"), reference);
      if (other) this.#changed(request, other);
    }
    return withStatus(reply, "fwd=method");
  }

  #keyOf({ target, scope }: CacheRequest, other = target): string {
    const { id, spec } = this.#options;
    return answerKey(id, other, spec.key, scope);
  }

  #changed(request: CacheRequest, target: string): void {
    const { store } = this.#options;
    const key = this.#keyOf(request, target);
    this.#fetcher.changes.note(key);
    this.#flights.forgetAll();
    store.delete(key);
  }

  #found(look: Look, found: Found | undefined): Reply {
    if (found === undefined) return this.#miss(look, "uri-miss");
    if (!isVariants(found)) return this.#stored(look, found);
    const variant = this.#variant(look.key, found, look.request);
    return variant instanceof Promise
      ? variant.then((later) => this.#ofVariants(look, found, later))
      : this.#ofVariants(look, found, variant);
  }

  #variant(key: string, { names, variant }: Variants, request: CacheRequest) {
    return this.#options.store.get(variantKey(key, variant, valuesOf(names, request)));
  }

  #ofVariants(look: Look, variants: Variants, found: Found | undefined): Reply {
    look.variants = variants;
    if (found === undefined || isVariants(found)) return this.#miss(look, "vary-miss");
    const isSame = hasSameValues(valuesOf(found.varyNames, look.request), found.varyValues);
    return isSame ? this.#stored(look, found) : this.#miss(look, "vary-miss");
  }

  #stored(look: Look, stored: StoredAnswer): Reply {
    const { clock, meter } = this.#options;
    const { request, asked, signs } = look;
    const { kind, ageMs, ttlMs } = judgeStored(stored, asked, clock.now());
    look.stored = stored;
    if (kind !== "validate") {
      meter.count(kind === "fresh" ? "hit" : "stale");
      if (kind === "refresh") this.#refresh(look);
      const reply = this.#replies.hit(stored, ageMs, ttlMs);
      return (signs & hasCondition) === 0 ? reply : forCaller(reply, stored, request, signs);
    }
    if (asked.onlyIfCached) return this.#options.notCached();
    return this.#fetch(look, ttlMs > 0 ? "request" : "stale");
  }

  #miss(look: Look, why: string): Reply {
    if (look.asked.onlyIfCached) return this.#options.notCached();
    return this.#fetch(look, why);
  }

  async #fetch(look: Look, why: string): Promise<CacheReply> {
    const { request, signs } = look;
    if (request.method === "HEAD") return this.#head(look, why);
    const isAlone = (signs & hasCondition) !== 0 && look.stored === undefined;
    const flight = isAlone || !this.#collapses(look) ? undefined : this.#flightKey(look);
    if (flight === undefined || this.#isApart(flight)) {
      return this.#reply(look, await this.#fetcher.fetch(look), why);
    }
    const { signal } = request;
    const { value, isLeader } = await this.#flights.join(flight, signal, async (allLeft) => {
      const fetched = await this.#fetcher.fetch(look, allLeft);
      if (!this.#isShared(fetched)) this.#setApart(flight);
      // It was for the leader alone, who has left.
      if (fetched.kind === "passed" && signal.aborted) dispose(fetched.reply);
      return fetched;
    });
    if (isLeader) return this.#reply(look, value, why);
    if (value.kind === "passed" || !this.#isShared(value) || !isFor(value.answer, request)) {
      return this.#reply(look, await this.#fetcher.fetch(look), why);
    }
    this.#options.meter.count("collapsed");
    return this.#keptReply(look, value, `fwd=${why}; collapsed`);
  }

  /** Asked for anew or not to be kept: then another's answer is not what is wanted. */
  #collapses({ asked }: Look): boolean {
    return this.#options.collapses && !asked.noCache && !asked.noStore && asked.maxAge !== 0;
  }

  /** Answers for one person are not waited for by others. */
  #flightKey({ key, request, variants, stored }: Look): string {
    const apartBy = [...this.#options.spec.key.headers, ...(request.apartBy ?? [])];
    const names = variants?.names ?? stored?.varyNames ?? apartBy;
    const who = request.header("authorization") ?? "";
    return variantKey(key, who, valuesOf(names, request));
  }

  /** What must be asked about each time is not for those who wait either. */
  #isShared(fetched: Fetched): boolean {
    if (fetched.kind === "passed") return false;
    const { answer, how } = fetched;
    return how === "error" || answer.lifetimeMs > ageMs(answer, this.#options.clock.now());
  }

  #isApart(flight: string): boolean {
    const untilMs = this.#apartUntil.get(flight);
    return untilMs !== undefined && this.#options.clock.monotonicMs() < untilMs;
  }

  #setApart(flight: string): void {
    if (this.#apartUntil.size >= apartMax) this.#apartUntil.clear();
    this.#apartUntil.set(flight, this.#options.clock.monotonicMs() + apartMs);
  }

  #reply(look: Look, fetched: Fetched, why: string): CacheReply {
    const { meter } = this.#options;
    if (fetched.kind === "passed") {
      meter.count("miss");
      return withStatus(fetched.reply, `fwd=${why}`);
    }
    const { how, status } = fetched;
    meter.count(how === "stored" ? "miss" : how === "unchanged" ? "revalidated" : "stale");
    const told = status === undefined ? "" : `; fwd-status=${status}`;
    return this.#keptReply(look, fetched, `fwd=${why}${told}${how === "error" ? "" : "; stored"}`);
  }

  #keptReply({ request, signs }: Look, fetched: Fetched & { kind: "kept" }, status: string): CacheReply {
    const { answer } = fetched;
    const age = ageMs(answer, this.#options.clock.now());
    return forCaller(storedReply(answer, age, status), answer, request, signs);
  }

  /** Answered from what GET brought; what a HEAD brings is not kept, but may tell that it holds no more. */
  async #head({ key, send, stored }: Look, why: string): Promise<CacheReply> {
    const { meter, store } = this.#options;
    meter.count("miss");
    const reply = await send();
    if (stored !== undefined && reply.status === 200) {
      const etag = lineOf(reply.headers, "etag");
      const length = lineOf(reply.headers, "content-length");
      const isOther = length !== undefined && Number(length) !== stored.body.length;
      if (isOther || (etag !== undefined && etag !== stored.etag)) store.delete(key);
    }
    return withStatus(reply, `fwd=${why}`);
  }

  /** Fetches a new answer while callers get the old one. */
  #refresh(look: Look): void {
    const { clock, log } = this.#options;
    const flight = this.#flightKey(look);
    if (this.#refreshing.has(flight) || this.#refreshing.size >= refreshesMax) return;
    this.#refreshing.add(flight);
    const late = new AbortController();
    const timer = clock.setTimer(refreshMaxMs, () => late.abort(new Error("the refresh took too long")), {
      background: true,
    });
    const work = (signal: AbortSignal) => this.#fetcher.fetch(look, signal);
    this.#flights
      .join(flight, late.signal, work)
      .then(
        ({ value, isLeader }) => isLeader && value.kind === "passed" && dispose(value.reply),
        (error: unknown) => log.debug({ error }, "a stale answer could not be refreshed"),
      )
      .finally(() => {
        timer.cancel();
        this.#refreshing.delete(flight);
      });
  }
}

function valuesOf(names: readonly string[], request: CacheRequest): string[] {
  return valuesUnder(names, (name) => request.header(name));
}

/** Whether an answer that another request brought is one for this. */
function isFor({ varyNames, varyValues }: StoredAnswer, request: CacheRequest): boolean {
  return hasSameValues(valuesOf(varyNames, request), varyValues);
}
