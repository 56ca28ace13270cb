import { EtagInvalid, EtagMismatch } from "../component/state-store.ts";
import { ActorAppFailure, type ActorPolicy, headerIn, type SearchPlan } from "../engine/actors/policy.ts";
import { type BindingPolicy, BindingRefused } from "../engine/bindings/input-bindings.ts";
import type { InboundPolicy, Outcome } from "../engine/pubsub/outcome.ts";
import type { ActivityPolicy } from "../engine/workflow/engine-parts.ts";
import { WorkerLost } from "../engine/workflow/workers.ts";
import { Code, errors, Fault } from "../errors.ts";
import { signalOf } from "../kit/cancellation.ts";
import { GrpcError, type ProxyPolicy } from "../net/grpc/types.ts";
import type { ConnectRetry } from "../peer/retry.ts";
import type { FailureCode } from "../policy/resilience/codes.ts";
import { backoffMs } from "../policy/resilience/policy.ts";
import { createResilience, type Resilience } from "../policy/resilience/resilience.ts";
import type { RetrySpec } from "../policy/resilience/spec.ts";
import { runPlaced } from "../policy/use/use-policies.ts";
import { isSameResources } from "../resource/diff.ts";
import type { Resource } from "../resource/resource.ts";
import type { AppScope } from "./call.ts";
import { proxyPolicyOf } from "./proxy-policy.ts";
import { createRoutePolicies } from "./route-policy.ts";

interface Made {
  /** As the app had them, to see at once that nothing changed. */
  resources: readonly Resource[];
  resiliencies: readonly Resource[];
  resilience: Resilience | undefined;
}

const made = new WeakMap<AppScope, Made>();

/** The policies of an app; `undefined` without a Resiliency resource. A reload leaves breakers that it did not change as they are. */
export function resilienceOf(app: AppScope): Resilience | undefined {
  const { resources } = app;
  const known = made.get(app);
  if (known !== undefined && known.resources === resources) return known.resilience;
  const resiliencies = resources.filter(({ kind }) => kind === "Resiliency");
  const { telemetry, principal } = app;
  const isSame = known !== undefined && isSameResources(known.resiliencies, resiliencies);
  const resilience = isSame
    ? known.resilience
    : createResilience(resiliencies, { telemetry, appId: principal.appId }, known?.resilience);
  made.set(app, { resources, resiliencies, resilience });
  return resilience;
}

/** What Resiliency puts into the seams of engine and peer. `app` is asked when something is called. */
export function createPolicies(app: () => AppScope) {
  return {
    inbound: createInboundPolicy(app),
    bindings: createBindingPolicy(app),
    askPlan: () => searchPlan(resilienceOf(app())?.builtIn("DaprBuiltInInitializationRetries")),
    actors: createActorPolicy(app),
    activities: createActivityPolicy(app),
    peer: {
      connectRetry: createConnectRetry(app),
      proxyPolicy: createProxyPolicy(app),
      routePolicies: createRoutePolicies(app),
    },
  };
}

/** What no other try can mend: etags that do not fit, and faults of the request. */
export function isPermanentFailure(error: unknown): boolean {
  if (error instanceof Fault) return error.code !== errors.POLICY.code;
  return error instanceof EtagMismatch || error instanceof EtagInvalid;
}

/** The inbound policies of pub/sub components, for the engine. `app` is asked when an event arrives. */
function createInboundPolicy(app: () => AppScope): InboundPolicy {
  return ({ pubsubName, topic, count = 1 }, attempt, signal) => {
    const resilience = resilienceOf(app())?.component("pubsub", pubsubName, "inbound");
    const placed = app().policies.at("deliver", pubsubName);
    if (resilience === undefined && placed === undefined) return attempt(signal);
    const use = { operation: "deliver", names: [topic], header: noHeader, count };
    return runPlaced({ resilience, placed }, use, (ended) => attempt(signalOf(ended) ?? signal), {
      ...{ signal, canOverlap: false },
      codeOf: codeOfOutcome,
      answer: ({ fault }): Outcome => ({
        ...{ kind: "retry", reason: fault.message, code: fault.http },
        isHeld: fault.code === errors.RATE_LIMIT.code,
      }),
    });
  };
}

/** The policies of input bindings and of what their apps send on. */
function createBindingPolicy(app: () => AppScope): BindingPolicy {
  return (component, direction, attempt, signal) => {
    const resilience = resilienceOf(app())?.component("bindings", component, direction);
    const isInput = direction === "inbound";
    const placed = app().policies.at(isInput ? "input" : "bindings", component);
    if (resilience === undefined && placed === undefined) return attempt(signal);
    const use = { operation: isInput ? "read" : "create", names: [], header: noHeader };
    return runPlaced({ resilience, placed }, use, (ended) => attempt(signalOf(ended) ?? signal), {
      ...{ signal, canOverlap: !isInput },
      codeOfError: codeOfDelivery,
      answer({ fault }) {
        throw isInput ? new BindingRefused(fault.http) : fault;
      },
    });
  };
}

function codeOfDelivery(error: unknown): FailureCode | undefined {
  if (error instanceof BindingRefused) return { http: error.status };
  return error instanceof GrpcError ? { grpc: error.code } : undefined;
}

/** The policies of actors: retries and breakers at the caller, timeouts where the actor lives. */
function createActorPolicy(app: () => AppScope): ActorPolicy {
  return {
    call(actor, attempt, signal) {
      const resilience = resilienceOf(app())?.actor(actor.type, actor.id);
      const placed = app().policies.at("actor", actor.type);
      if (resilience === undefined && placed === undefined) return attempt(signal);
      const { id, method, headers = [] } = actor;
      const header = (lowerName: string): string | undefined => headerIn(headers, lowerName);
      const use = { operation: "invoke", names: [id], method, header };
      return runPlaced({ resilience, placed }, use, (ended) => attempt(signalOf(ended) ?? signal), {
        ...{ signal, canOverlap: false },
        codeOfError: codeOfActor,
        isPermanent: isCallersMistake,
        answer({ fault }) {
          throw fault;
        },
      });
    },
    turnTimeoutMs: (type) => resilienceOf(app())?.actorTurnTimeoutMs(type) ?? 0,
    search: () => searchPlan(resilienceOf(app())?.builtIn("DaprBuiltInActorRetries")),
  };
}

/** Round what a workflow's worker does of a step. */
function createActivityPolicy(app: () => AppScope): ActivityPolicy {
  return (name, attempt, { refused, isFailed, signal }) => {
    const placed = app().policies.at("activity", name);
    if (placed === undefined) return attempt();
    const use = { operation: "schedule", names: [name], header: noHeader };
    return runPlaced({ placed, resilience: undefined }, use, attempt, {
      ...{ signal, canOverlap: false },
      codeOf: (result) => (isFailed(result) ? { http: 500 } : undefined),
      // Without a worker there is nothing to be tried again here: the step waits for the next one.
      isPermanent: (error) => error instanceof WorkerLost,
      answer: ({ fault }) => refused(fault.message),
    });
  };
}

function noHeader(): undefined {
  return undefined;
}

function codeOfActor(error: unknown): FailureCode | undefined {
  if (!(error instanceof Fault)) return undefined;
  const { cause } = error;
  return cause instanceof ActorAppFailure ? { http: cause.status } : { grpc: error.grpc };
}

/** Names that no actor can have, chains that go too deep, and what the actor's host does not let in. */
function isCallersMistake(error: unknown): boolean {
  if (!(error instanceof Fault)) return false;
  const codes = [errors.ACTOR_STACK_DEPTH.code, errors.ACCESS_DENIED.code];
  return error.grpc === Code.InvalidArgument || codes.includes(error.code);
}

function searchPlan(retry: RetrySpec | undefined): SearchPlan | undefined {
  if (retry === undefined) return undefined;
  const retries = retry.retriesMax < 0 ? Number.POSITIVE_INFINITY : retry.retriesMax;
  return { retries, pauseMs: (attempt) => backoffMs(retry, attempt, 0) ?? retry.intervalMaxMs };
}

function codeOfOutcome(outcome: Outcome): FailureCode | undefined {
  if (outcome.kind !== "retry") return undefined;
  if (outcome.grpcCode !== undefined) return { grpc: outcome.grpcCode };
  return outcome.code === undefined ? { unknown: true } : { http: outcome.code };
}

/**
 * How the invoker repeats calls that reached nobody: a retry policy of the target takes the place of the built-in one,
 * which a policy named `DaprBuiltInServiceRetries` changes.
 */
function createConnectRetry(app: () => AppScope): (id: string) => ConnectRetry | undefined {
  return (id) => {
    const resilience = resilienceOf(app());
    if (resilience?.app(id, id)?.hasRetries) return { retries: 0, pauseMs: () => 0 };
    return searchPlan(resilience?.builtIn("DaprBuiltInServiceRetries"));
  };
}

/** Round gRPC calls of the apps' own services. */
function createProxyPolicy(app: () => AppScope): (id: string, path: string) => ProxyPolicy | undefined {
  return (id, path) => {
    const resilience = resilienceOf(app())?.app(id, `${id}:${path}`);
    const placed = app().policies.at("grpc", id);
    return proxyPolicyOf({ resilience, placed }, path);
  };
}
