import { type Clock, realClock } from "../../edges/clock.ts";
import type { ResiliencyResource, Resource } from "../../resource/resource.ts";
import type { Counter, Telemetry } from "../../telemetry/telemetry.ts";
import { Breaker, type BreakerState } from "./breaker.ts";
import { ResiliencePolicy } from "./policy.ts";
import {
  type ActorTarget,
  mergeResiliency,
  type PolicyNames,
  type ResilienceSpec,
  type RetrySpec,
} from "./spec.ts";
import { compileTrip } from "./trip.ts";

/** The names of component kinds in default policies: `DefaultStatestoreComponentOutboundRetryPolicy`. */
const kindNames = {
  state: "Statestore",
  pubsub: "Pubsub",
  secretstores: "Secretstore",
  configuration: "Configuration",
  lock: "Lock",
  crypto: "Crypto",
  conversation: "Conversation",
  bindings: "Binding",
} as const;
export type ResilientKind = keyof typeof kindNames;

type Direction = "inbound" | "outbound";

/** The policies of an app's Resiliency resources, by target. `undefined` where nothing applies: then nothing is paid. */
export interface Resilience {
  component(kind: ResilientKind, name: string, direction: Direction): ResiliencePolicy | undefined;
  /** `endpoint` is what shares a breaker: the app id with the method. */
  app(id: string, endpoint: string): ResiliencePolicy | undefined;
  /** Round a call of an actor, before its turn. */
  actor(type: string, id: string): ResiliencePolicy | undefined;
  /** How long a turn of such an actor may take; 0: as long as it likes. */
  actorTurnTimeoutMs(type: string): number;
  /** The retry that takes the place of a built-in one: `DaprBuiltInServiceRetries`. */
  builtIn(name: string): RetrySpec | undefined;
}

export interface ResilienceOptions {
  appId: string;
  telemetry: Telemetry;
  clock?: Clock;
}

/**
 * Builds the policies of all Resiliency resources in the list; `undefined` when there are none. Breakers that are as they
 * were `before` keep what they know.
 */
export function createResilience(
  resources: readonly Resource[],
  options: ResilienceOptions,
  before?: Resilience,
): Resilience | undefined {
  const own = resources.filter((resource): resource is ResiliencyResource => resource.kind === "Resiliency");
  const spec = mergeResiliency(own);
  if (spec === undefined) return undefined;
  for (const { name, namespace } of own) {
    const labels = { app_id: options.appId, name, namespace };
    options.telemetry.metrics.counter("resiliency/loaded", labels).add();
  }
  const policies = new Policies(spec, options);
  if (before instanceof Policies) policies.takeOver(before);
  return policies;
}

/** Where a policy stands, for metrics and the log. */
interface Place {
  target: string;
  direction: Direction;
}

/** A policy of a component with what it was opened for. */
interface ComponentPolicy {
  kind: ResilientKind;
  name: string;
  direction: Direction;
  policy: ResiliencePolicy | undefined;
}

const breakersMaxByDefault = 100;
const componentPoliciesMax = 10_000;

class Policies implements Resilience {
  readonly #spec: ResilienceSpec;
  readonly #options: ResilienceOptions;
  readonly #clock: Clock;
  readonly #components = new Map<string, ComponentPolicy>();
  /** Per app, by endpoint, the least recently used first. */
  readonly #apps = new Map<string, Map<string, ResiliencePolicy | undefined>>();
  /** Per actor type, by actor. */
  readonly #actors = new Map<string, Map<string, ResiliencePolicy | undefined>>();
  /** Of those whose scope is `both`: the breaker of the type. */
  readonly #typeBreakers = new Map<string, Breaker>();

  constructor(spec: ResilienceSpec, options: ResilienceOptions) {
    this.#spec = spec;
    this.#options = options;
    this.#clock = options.clock ?? realClock;
  }

  /** Opens at once what had a breaker: one that nobody asks for until the next edit is not forgotten by it. */
  takeOver(before: Policies): void {
    for (const { kind, name, direction, policy } of before.#components.values()) {
      if (policy?.breaker !== undefined) this.#component({ kind, name, direction }, policy.breaker);
    }
    for (const { group, key, breaker } of breakersIn(before.#apps)) this.#app(group, key, breaker);
    for (const [type, breaker] of before.#typeBreakers) {
      const { breakerScope, circuitBreaker } = this.#actorTarget(type);
      if (breakerScope === "both") this.#typeBreaker(type, circuitBreaker, breaker);
    }
    for (const { group, key, breaker } of breakersIn(before.#actors)) {
      const isShared = (policies: Policies) => policies.#actorTarget(group).breakerScope === "type";
      if (isShared(before) === isShared(this)) this.#actor(group, key, breaker);
    }
  }

  component(kind: ResilientKind, name: string, direction: Direction): ResiliencePolicy | undefined {
    const known = this.#components.get(`${direction} ${kind} ${name}`);
    return known === undefined ? this.#component({ kind, name, direction }) : known.policy;
  }

  #component(of: Omit<ComponentPolicy, "policy">, before?: Breaker): ResiliencePolicy | undefined {
    const { kind, name, direction } = of;
    const way = direction === "inbound" ? "Inbound" : "Outbound";
    const names =
      this.#spec.components.get(name)?.[direction] ??
      this.#defaults([`${kindNames[kind]}Component${way}`, `Component${way}`, "Component", ""]);
    const policy = this.#open(names, { target: `${kindNames[kind]}_${name}`, direction }, { before });
    if (this.#components.size < componentPoliciesMax) {
      this.#components.set(`${direction} ${kind} ${name}`, { ...of, policy });
    }
    return policy;
  }

  app(id: string, endpoint: string): ResiliencePolicy | undefined {
    return this.#app(id, endpoint);
  }

  #app(id: string, endpoint: string, before?: Breaker): ResiliencePolicy | undefined {
    const target = this.#spec.apps.get(id);
    const names = target ?? this.#defaults(["App", ""]);
    // Only a breaker remembers anything, so only then there is one policy per endpoint.
    const key = names.circuitBreaker === "" ? "" : endpoint;
    const open = () => this.#open(names, { target: `app_${id}`, direction: "outbound" }, { before });
    return kept(this.#apps, { group: id, key, sizeMax: target?.breakersMax ?? breakersMaxByDefault }, open);
  }

  actor(type: string, id: string): ResiliencePolicy | undefined {
    return this.#actor(type, id);
  }

  #actor(type: string, id: string, before?: Breaker): ResiliencePolicy | undefined {
    const { breakerScope, breakersMax, ...policies } = this.#actorTarget(type);
    // The timeout is the turn's, which begins when the actor's lock is had.
    const names = { ...policies, timeout: "" };
    const key = names.circuitBreaker === "" || breakerScope === "type" ? "" : id;
    const open = () => {
      const outer = breakerScope === "both" ? this.#typeBreaker(type, names.circuitBreaker) : undefined;
      return this.#open(names, actorPlace(type), { before, outer });
    };
    return kept(this.#actors, { group: type, key, sizeMax: breakersMax }, open);
  }

  #actorTarget(type: string): ActorTarget {
    const byDefault = { breakerScope: "type", breakersMax: breakersMaxByDefault } as const;
    return this.#spec.actors.get(type) ?? { ...this.#defaults(["Actor", ""]), ...byDefault };
  }

  actorTurnTimeoutMs(type: string): number {
    const { timeout } = this.#actorTarget(type);
    return this.#spec.timeouts.get(timeout) ?? 0;
  }

  builtIn(name: string): RetrySpec | undefined {
    return this.#spec.retries.get(name);
  }

  /** The default policies of the first level that has one, for each kind of policy alone. */
  #defaults(levels: readonly string[]): PolicyNames {
    const first = (policies: ReadonlyMap<string, unknown>, suffix: string): string =>
      levels.map((level) => `Default${level}${suffix}`).find((name) => policies.has(name)) ?? "";
    return {
      timeout: first(this.#spec.timeouts, "TimeoutPolicy"),
      retry: first(this.#spec.retries, "RetryPolicy"),
      circuitBreaker: first(this.#spec.breakers, "CircuitBreakerPolicy"),
    };
  }

  #typeBreaker(type: string, name: string, before?: Breaker): Breaker | undefined {
    const known = this.#typeBreakers.get(type);
    if (known !== undefined) return known;
    const breaker = this.#breaker(name, actorPlace(type), before);
    if (breaker !== undefined) this.#typeBreakers.set(type, breaker);
    return breaker;
  }

  #open(
    names: PolicyNames,
    place: Place,
    breakers: { before?: Breaker | undefined; outer?: Breaker | undefined },
  ): ResiliencePolicy | undefined {
    const timeoutMs = this.#spec.timeouts.get(names.timeout) ?? 0;
    const retry = this.#spec.retries.get(names.retry);
    const breaker = this.#breaker(names.circuitBreaker, place, breakers.before);
    if (timeoutMs <= 0 && retry === undefined && breaker === undefined) return undefined;
    const there = [timeoutMs > 0 ? "timeout" : "", retry === undefined ? "" : "retry"];
    const counts = there
      .filter((policy) => policy !== "")
      .map((policy) => this.#counter("resiliency/count", policy, place, ""));
    const byState = new Map<BreakerState, Counter>();
    const countState = (state: BreakerState): void => {
      let count = byState.get(state);
      if (count === undefined) {
        count = this.#counter("resiliency/count", "circuitbreaker", place, state);
        byState.set(state, count);
      }
      count.add();
    };
    return new ResiliencePolicy({
      clock: this.#clock,
      timeoutMs,
      retry,
      breaker,
      outerBreaker: breakers.outer,
      applied: () => {
        for (const count of counts) count.add();
        if (breaker !== undefined) countState(breaker.state);
      },
      activated: (policy) => this.#count("resiliency/activations_total", policy, place, ""),
    });
  }

  /** The one of `before` when it says the same. */
  #breaker(name: string, place: Place, before?: Breaker): Breaker | undefined {
    const spec = this.#spec.breakers.get(name);
    if (spec === undefined) return undefined;
    const log = this.#options.telemetry.log.scope("dapr.runtime.resiliency");
    const changed = (state: BreakerState): void => {
      log.info({}, `Circuit breaker "${name}" of ${place.target} changed state to ${state}`);
      this.#count("resiliency/activations_total", "circuitbreaker", place, state);
      this.#gauge(place, state);
    };
    if (before?.isMadeBy(spec)) {
      before.tell(changed);
      this.#gauge(place, before.state);
      return before;
    }
    this.#gauge(place, "closed");
    return new Breaker(spec, {
      clock: this.#clock,
      trip: compileTrip(spec.trip, (error) =>
        log.warn({ error, circuitBreaker: name }, "trip is not valid CEL"),
      ),
      changed,
    });
  }

  #gauge(place: Place, current: BreakerState): void {
    for (const state of ["closed", "half-open", "open", "unknown"]) {
      const labels = this.#labels("circuitbreaker", place, state);
      this.#options.telemetry.metrics.gauge("resiliency/cb_state", labels).set(state === current ? 1 : 0);
    }
  }

  #count(name: string, policy: string, place: Place, status: string): void {
    this.#counter(name, policy, place, status).add();
  }

  #counter(name: string, policy: string, place: Place, status: string): Counter {
    return this.#options.telemetry.metrics.counter(name, this.#labels(policy, place, status));
  }

  #labels(policy: string, { target, direction }: Place, status: string): Record<string, string> {
    const { name, namespace } = this.#spec;
    return {
      app_id: this.#options.appId,
      name,
      namespace,
      policy,
      flow_direction: direction,
      target,
      status,
    };
  }
}

function actorPlace(type: string): Place {
  return { target: `actor_${type}`, direction: "outbound" };
}

/** The least recently used first. */
function* breakersIn(
  groups: ReadonlyMap<string, ReadonlyMap<string, ResiliencePolicy | undefined>>,
): Iterable<{ group: string; key: string; breaker: Breaker }> {
  for (const [group, policies] of groups) {
    for (const [key, policy] of policies) {
      if (policy?.breaker !== undefined) yield { group, key, breaker: policy.breaker };
    }
  }
}

/** The policy of one of a group, opened when it is not known; the least recently used gives way. */
function kept(
  groups: Map<string, Map<string, ResiliencePolicy | undefined>>,
  { group, key, sizeMax }: { group: string; key: string; sizeMax: number },
  open: () => ResiliencePolicy | undefined,
): ResiliencePolicy | undefined {
  let known = groups.get(group);
  if (known === undefined) {
    known = new Map();
    evictOldest(groups, componentPoliciesMax);
    groups.set(group, known);
  }
  const policy = known.has(key) ? known.get(key) : open();
  known.delete(key);
  evictOldest(known, sizeMax);
  known.set(key, policy);
  return policy;
}

function evictOldest(map: Map<string, unknown>, sizeMax: number): void {
  while (map.size >= Math.max(1, sizeMax)) {
    const oldest = map.keys().next();
    if (oldest.done) return;
    map.delete(oldest.value);
  }
}
