import type { Balancing } from "../peer/balance/balancers.ts";
import type { BalancingPolicy } from "../peer/balance/policy.ts";
import type { Resource } from "../resource/resource.ts";
import type { TrafficPolicyResource } from "../resource/traffic.ts";
import type { Log } from "../telemetry/telemetry.ts";
import type { RuntimeResources } from "./resources.ts";

export interface BalancingRequest {
  principal: { namespace: string; appId: string };
  resources: Pick<RuntimeResources, "policies" | "onPolicies">;
  log: Log;
}

const blocks = ["loadBalancer", "connectionPool", "outlierDetection", "healthCheck"] as const;

/** What TrafficPolicies say of the instances of the apps that this one calls. A policy that stayed is the same object. */
export function openBalancing(request: BalancingRequest): Balancing {
  const { principal, resources } = request;
  let policies = mergedPolicies(resources.policies, request);
  resources.onPolicies(() => {
    const before = policies;
    policies = mergedPolicies(resources.policies, request);
    for (const [name, policy] of policies) {
      const known = before.get(name);
      if (known !== undefined && JSON.stringify(known) === JSON.stringify(policy)) policies.set(name, known);
    }
  });
  return ({ appId, namespace }) => {
    if (policies.size === 0) return undefined;
    const full = policies.get(`${appId}.${namespace}`);
    return full ?? (namespace === principal.namespace ? policies.get(appId) : undefined);
  };
}

/** By the name in `targetRefs`. A block of an app comes from one policy: the first that was loaded. */
function mergedPolicies(
  all: readonly Resource[],
  { principal, log }: BalancingRequest,
): Map<string, BalancingPolicy> {
  const merged = new Map<string, BalancingPolicy>();
  const policies = all.filter((one): one is TrafficPolicyResource => one.kind === "TrafficPolicy");
  const mine = policies.filter(({ spec }) => spec.from.length === 0 || spec.from.includes(principal.appId));
  for (const { name, spec } of mine) {
    const given = blocks.filter((block) => spec[block] !== undefined);
    const apps = given.length === 0 ? [] : spec.targets.filter(({ kind }) => kind === "App");
    for (const target of apps) {
      const policy = merged.get(target.name) ?? {};
      merged.set(target.name, policy);
      for (const block of given) {
        if (policy[block] === undefined) Object.assign(policy, { [block]: spec[block] });
        else log.warn({ policy: name, app: target.name }, `${block} is set by another TrafficPolicy already`);
      }
    }
  }
  return merged;
}
