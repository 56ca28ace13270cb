import { EtagInvalid, EtagMismatch } from "../component/state-store.ts";
import { ActorAppFailure, type ActorPolicy, type SearchPlan } from "../engine/actors/policy.ts";
import { type BindingPolicy, BindingRefused } from "../engine/bindings/input-bindings.ts";
import type { InboundPolicy, Outcome } from "../engine/pubsub/outcome.ts";
import { Code, errors, Fault } from "../errors.ts";
import { GrpcError, type ProxyPolicy } from "../net/grpc/types.ts";
import type { ConnectRetry } from "../peer/retry.ts";
import { BreakerOpen } from "../policy/resilience/breaker.ts";
import type { FailureCode } from "../policy/resilience/codes.ts";
import { AttemptTimeout, backoffMs } from "../policy/resilience/policy.ts";
import { createResilience, type Resilience } from "../policy/resilience/resilience.ts";
import type { RetrySpec } from "../policy/resilience/spec.ts";
import { isSameResources } from "../resource/diff.ts";
import type { Resource } from "../resource/resource.ts";
import type { AppScope } from "./call.ts";

interface Made {
  /** As the app had them, to see at once that nothing changed. */
  resources: readonly Resource[];
  resiliencies: readonly Resource[];
  resilience: Resilience | undefined;
}

const made = new WeakMap<AppScope, Made>();

/** The policies of an app; `undefined` without a Resiliency resource. A reload of other kinds leaves breakers as they are. */
export function resilienceOf(app: AppScope): Resilience | undefined {
  const { resources } = app;
  const known = made.get(app);
  if (known !== undefined && known.resources === resources) return known.resilience;
  const resiliencies = resources.filter(({ kind }) => kind === "Resiliency");
  const { telemetry, principal } = app;
  const isSame = known !== undefined && isSameResources(known.resiliencies, resiliencies);
  const resilience = isSame
    ? known.resilience
    : createResilience(resiliencies, { telemetry, appId: principal.appId });
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
    peer: { connectRetry: createConnectRetry(app), proxyPolicy: createProxyPolicy(app) },
  };
}

/** What no other try can mend: etags that do not fit, and faults of the request. */
export function isPermanentFailure(error: unknown): boolean {
  return error instanceof EtagMismatch || error instanceof EtagInvalid || error instanceof Fault;
}

/** The inbound policies of pub/sub components, for the engine. `app` is asked when an event arrives. */
function createInboundPolicy(app: () => AppScope): InboundPolicy {
  return (component, attempt, signal) => {
    const policy = resilienceOf(app())?.component("pubsub", component, "inbound");
    if (policy === undefined) return attempt(signal);
    return policy.run((ended) => attempt(ended ?? signal), { signal, codeOf: codeOfOutcome });
  };
}

/** The policies of input bindings and of what their apps send on. */
function createBindingPolicy(app: () => AppScope): BindingPolicy {
  return (component, direction, attempt, signal) => {
    const policy = resilienceOf(app())?.component("bindings", component, direction);
    if (policy === undefined) return attempt(signal);
    return policy.run((ended) => attempt(ended ?? signal), { signal, codeOfError: codeOfDelivery });
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
      const policy = resilienceOf(app())?.actor(actor.type, actor.id);
      if (policy === undefined) return attempt(signal);
      const options = { signal, codeOfError: codeOfActor, isPermanent: isCallersMistake };
      return policy.run((ended) => attempt(ended ?? signal), options);
    },
    turnTimeoutMs: (type) => resilienceOf(app())?.actorTurnTimeoutMs(type) ?? 0,
    search: () => searchPlan(resilienceOf(app())?.builtIn("DaprBuiltInActorRetries")),
  };
}

function codeOfActor(error: unknown): FailureCode | undefined {
  if (!(error instanceof Fault)) return undefined;
  const { cause } = error;
  return cause instanceof ActorAppFailure ? { http: cause.status } : { grpc: error.grpc };
}

/** Names that no actor can have, and chains that go too deep. */
function isCallersMistake(error: unknown): boolean {
  if (!(error instanceof Fault)) return false;
  return error.grpc === Code.InvalidArgument || error.code === errors.ACTOR_STACK_DEPTH.code;
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
    const policy = resilienceOf(app())?.app(id, `${id}:${path}`);
    if (policy === undefined) return undefined;
    return {
      hasRetries: policy.hasRetries,
      run: (attempt, { signal, isRepeatable, codeOf }) => {
        const code = (grpc: number): FailureCode | undefined => (grpc === Code.Ok ? undefined : { grpc });
        const options = {
          ...{ signal, isRepeatable },
          codeOf: (result: Parameters<typeof codeOf>[0]) => code(codeOf(result)),
          codeOfError: codeOfDelivery,
          // A caller that has left says nothing of the target.
          isPermanent: (error: unknown) => error instanceof GrpcError && error.code === Code.Canceled,
        };
        return policy.run(attempt, options).catch((error) => {
          throw asStatus(error);
        });
      },
    };
  };
}

function asStatus(error: unknown): unknown {
  if (error instanceof AttemptTimeout) return new GrpcError(Code.DeadlineExceeded, error.message);
  return error instanceof BreakerOpen ? new GrpcError(Code.Unavailable, error.message) : error;
}
