import type { Clock } from "../../edges/clock.ts";
import type { Random } from "../../edges/random.ts";
import type { Resource } from "../../resource/resource.ts";
import type { CacheSpec, TrafficPolicyResource, TrafficTarget } from "../../resource/traffic.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import type { AnswerStore, Purge } from "./answer-store.ts";
import { Batched } from "./batched.ts";
import { CacheMeter, type CacheResult } from "./cache-meter.ts";
import { Collapsed } from "./collapsed.ts";
import { HttpCache } from "./http-cache.ts";
import { MemoryStore } from "./memory-store.ts";
import type { CacheReply, CacheRequest, Send } from "./reply.ts";
import { type KeyValues, SharedStore } from "./shared-store.ts";

export interface HttpCachesContext {
  principal: { namespace: string; appId: string };
  telemetry: Telemetry;
  clock: Clock;
  random: Random;
  /** A state component, for the cache entries of this app. */
  keyValues(name: string): KeyValues | undefined;
  notCached(): CacheReply;
}

/** What stands before the calls of one target. */
export interface RequestCache {
  handle(request: CacheRequest, send: Send): CacheReply | Promise<CacheReply>;
  /** What is kept, however old, for an answer that would be an error. Absent: nothing is kept. */
  lastResort?(request: CacheRequest): Promise<CacheReply | undefined>;
}

export interface CacheState {
  target: string;
  store: string;
  counts: Readonly<Record<CacheResult, number>>;
  entries?: number;
  bytes?: number;
}

interface Opened {
  /** What it was made from. */
  print: string;
  id: string;
  handler: RequestCache;
  cache: HttpCache | undefined;
  state(): CacheState;
}

/** The caches of one app's calls, by whom they call. They follow the TrafficPolicies of the app. */
export class HttpCaches {
  readonly #context: HttpCachesContext;
  #opened: readonly Opened[] = [];
  #byId = new Map<string, Opened>();

  constructor(context: HttpCachesContext) {
    this.#context = context;
  }

  /** Takes the resources as they are now; a cache whose policy stayed keeps what it has. */
  apply(resources: readonly Resource[]): void {
    const { principal } = this.#context;
    const before = new Map(this.#opened.map((one) => [one.print, one]));
    const opened: Opened[] = [];
    const byId = new Map<string, Opened>();
    for (const policy of resources.filter(isCaching)) {
      const { from, targets } = policy.spec;
      if (from.length > 0 && !from.includes(principal.appId)) continue;
      const store = lazyStore(() => this.#openStore(policy.spec.cache as CacheSpec));
      for (const target of targets) {
        const { kind, name } = target;
        const id = idOf(target);
        if (byId.has(id)) continue;
        const print = JSON.stringify([policy.name, id, policy.spec.cache, policy.spec.collapse]);
        const one = before.get(print) ?? this.#open(policy, { id, print, store });
        opened.push(one);
        byId.set(id, one);
        if (kind === "App" && !name.includes(".")) byId.set(`${name}.${principal.namespace}`, one);
      }
    }
    this.#opened = opened;
    this.#byId = byId;
  }

  /** `undefined`: calls of it go straight on. */
  at(id: string): RequestCache | undefined {
    return this.#byId.size === 0 ? undefined : this.#byId.get(id)?.handler;
  }

  /** Of what a Gateway, a route or a version answers; what is said of a part of it goes first. */
  placed(kind: string, name: string): RequestCache | undefined {
    const id = `${kind}/${name}`;
    return this.at(id) ?? (name.includes("/") ? this.at(id.slice(0, id.lastIndexOf("/"))) : undefined);
  }

  /** How many answers went, as far as that is known. */
  async purge(purge: Purge): Promise<number> {
    const meant = "tag" in purge ? this.#opened : [this.#byId.get(purge.id)];
    const caches = new Set(meant.flatMap((one) => one?.cache ?? []));
    const named = (one: HttpCache): Purge => ("tag" in purge ? purge : { ...purge, id: one.id });
    const counts = await Promise.all([...caches].map((cache) => cache.purge(named(cache))));
    return counts.reduce<number>((total, count) => total + (count ?? 0), 0);
  }

  states(): CacheState[] {
    return this.#opened.map((one) => one.state());
  }

  #open(
    { spec }: TrafficPolicyResource,
    { id, print, store }: { id: string; print: string; store: () => AnswerStore },
  ): Opened {
    const { principal, telemetry, clock, random, notCached } = this.#context;
    const { appId, namespace } = principal;
    const meter = new CacheMeter(telemetry.metrics, { app_id: appId, namespace, target: id });
    const { cache: cacheSpec, collapse } = spec;
    const counts = meter.counts;
    const batched = collapse?.batch && new Batched(collapse.batch, { clock, meter });
    if (cacheSpec === undefined) {
      const state = () => ({ target: id, store: "", counts });
      const handler = collapse?.singleFlight === true ? new Collapsed(meter) : passing;
      return { print, id, cache: undefined, handler: batching(batched, handler), state };
    }
    const kept = store();
    const cache = new HttpCache({
      ...{ id, meter, clock, random, notCached, spec: cacheSpec, store: kept, log: telemetry.log },
      collapses: collapse?.singleFlight ?? false,
    });
    const state = () => ({ target: id, store: cacheSpec.store, counts, ...kept.size() });
    return { print, id, cache, handler: batching(batched, cache), state };
  }

  #openStore(spec: CacheSpec): AnswerStore {
    const { telemetry, clock, random, keyValues } = this.#context;
    if (spec.store === "memory") return new MemoryStore(spec.maxBytes);
    return new SharedStore({
      keyValues: () => keyValues(spec.store),
      timeoutMs: spec.storeTimeoutMs,
      ...{ clock, random, log: telemetry.log },
      failed: () => telemetry.metrics.counter("http/cache/store_failures", { store: spec.store }).add(),
    });
  }
}

/** Apps and endpoints are called by their names alone. */
function idOf({ kind, name, sectionName }: TrafficTarget): string {
  if (kind === "App" || kind === "HTTPEndpoint") return name;
  return sectionName === "" ? `${kind}/${name}` : `${kind}/${name}/${sectionName}`;
}

function isCaching(resource: Resource): resource is TrafficPolicyResource {
  if (resource.kind !== "TrafficPolicy") return false;
  const { cache, collapse } = (resource as TrafficPolicyResource).spec;
  return cache !== undefined || collapse?.singleFlight === true || collapse?.batch !== undefined;
}

const passing: RequestCache = { handle: (_request, send) => send() };

/** Within what is kept: what is asked for is asked for together. */
function batching(batched: Batched | undefined, inner: RequestCache): RequestCache {
  if (batched === undefined) return inner;
  return {
    handle: (request, send) => inner.handle(request, (change) => batched.send(request, send, change)),
    ...(inner.lastResort && { lastResort: inner.lastResort.bind(inner) }),
  };
}

/** The targets of a policy share what it allows to be kept. */
function lazyStore(open: () => AnswerStore): () => AnswerStore {
  let store: AnswerStore | undefined;
  return () => {
    store ??= open();
    return store;
  };
}
