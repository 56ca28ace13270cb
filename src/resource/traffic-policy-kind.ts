import type { FieldReader } from "./field-reader.ts";
import type { TrafficPolicySpec, TrafficTarget } from "./traffic.ts";
import { readBalancing } from "./traffic-balancing.ts";
import { readCache, readCollapse } from "./traffic-cache.ts";
import { readFault } from "./traffic-faults.ts";
import {
  readAdaptiveConcurrency,
  readAdmissionControl,
  readCircuitBreaker,
  readFallback,
} from "./traffic-guards.ts";
import { readHedging, readRetries, readRetryBudget } from "./traffic-retries.ts";

const targetKinds = [
  "App",
  "AppVersion",
  "HTTPEndpoint",
  "Component",
  "HTTPRoute",
  "GRPCRoute",
  "Gateway",
  "ActorType",
  "Activity",
] as const;

/** Each block is taken off this list by whoever builds it. */
const later = [...["mirror", "headers"]];

/** Targets that consist of rules or listeners with names. */
const sectionedKinds: readonly (TrafficTarget["kind"] | undefined)[] = ["HTTPRoute", "GRPCRoute", "Gateway"];

/** What traffic to a target has to bear, in the words of Istio and Envoy (docs/guide/traffic.md). */
export function readTrafficPolicy(spec: FieldReader): TrafficPolicySpec {
  const from = spec.list("from").map((caller) => caller.requiredText("app"));
  for (const name of later) spec.refused(name, () => false);
  const targets = readTargets(spec);
  return {
    targets,
    from,
    ...readBalancing(spec, targets),
    fault: readFault(spec),
    retries: readRetries(spec),
    retryBudget: readRetryBudget(spec),
    hedging: readHedging(spec),
    circuitBreaker: readCircuitBreaker(spec),
    fallback: readFallback(spec),
    cache: readCache(spec, targets),
    collapse: readCollapse(spec, targets),
    adaptiveConcurrency: readAdaptiveConcurrency(spec),
    admissionControl: readAdmissionControl(spec),
  };
}

function readTargets(spec: FieldReader): TrafficTarget[] {
  if (!spec.has("targetRefs")) spec.fail("spec.targetRefs is missing");
  return spec.list("targetRefs").flatMap((ref): TrafficTarget[] => {
    ref.text("group");
    const name = ref.requiredText("name");
    const sectionName = ref.text("sectionName");
    const asked = ref.text("kind");
    const kind = targetKinds.find((one) => one === (asked === "Service" ? "App" : asked));
    if (sectionName !== "" && !sectionedKinds.includes(kind))
      ref.fail(
        "sectionName is for the rules of a route and the listeners of a Gateway; remove it",
        "sectionName",
      );
    if (kind !== undefined) return [{ kind, name, sectionName }];
    ref.fail(`kind must be ${targetKinds.join(", ")}, got ${JSON.stringify(asked)}`, "kind");
    return [];
  });
}
