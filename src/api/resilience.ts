import { EtagInvalid, EtagMismatch } from "../component/state-store.ts";
import type { InboundPolicy, Outcome } from "../engine/pubsub/outcome.ts";
import { Fault } from "../errors.ts";
import type { ConnectRetry } from "../peer/retry.ts";
import type { FailureCode } from "../policy/resilience/codes.ts";
import { createResilience, type Resilience } from "../policy/resilience/resilience.ts";
import type { Resource } from "../resource/resource.ts";
import type { AppScope } from "./call.ts";

const made = new WeakMap<AppScope, { resources: readonly Resource[]; resilience: Resilience | undefined }>();

/** The policies of an app, kept until its resources are replaced; `undefined` without a Resiliency resource. */
export function resilienceOf(app: AppScope): Resilience | undefined {
  const { resources } = app;
  const known = made.get(app);
  if (known !== undefined && known.resources === resources) return known.resilience;
  const { telemetry, principal } = app;
  const resilience = createResilience(resources, { telemetry, appId: principal.appId });
  made.set(app, { resources, resilience });
  return resilience;
}

/** What no other try can mend: etags that do not fit, and faults of the request. */
export function isPermanentFailure(error: unknown): boolean {
  return error instanceof EtagMismatch || error instanceof EtagInvalid || error instanceof Fault;
}

/** The inbound policies of pub/sub components, for the engine. `app` is asked when an event arrives. */
export function createInboundPolicy(app: () => AppScope): InboundPolicy {
  return (component, attempt, signal) => {
    const policy = resilienceOf(app())?.component("pubsub", component, "inbound");
    if (policy === undefined) return attempt(signal);
    return policy.run((ended) => attempt(ended ?? signal), { signal, codeOf: codeOfOutcome });
  };
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
export function createConnectRetry(app: () => AppScope): (id: string) => ConnectRetry | undefined {
  return (id) => {
    const resilience = resilienceOf(app());
    if (resilience?.app(id, id)?.hasRetries) return { retries: 0, delayMs: 0 };
    const retry = resilience?.builtIn("DaprBuiltInServiceRetries");
    if (retry === undefined) return undefined;
    const retries = retry.retriesMax < 0 ? Number.POSITIVE_INFINITY : retry.retriesMax;
    return { retries, delayMs: retry.durationMs };
  };
}
