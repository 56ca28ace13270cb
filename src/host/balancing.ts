import type { Balancing } from "../peer/balance/balancers.ts";
import type { BalancingPolicy } from "../peer/balance/policy.ts";
import { versionLabel } from "../peer/subset.ts";
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

/** Policies by the kind and name of their targets. */
type Policies = Map<string, BalancingPolicy>;

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
  const policyOf = (kind: string, name: string, namespace: string): BalancingPolicy | undefined =>
    policies.get(`${kind} ${name}.${namespace}`) ??
    (namespace === principal.namespace ? policies.get(`${kind} ${name}`) : undefined);
  return ({ appId, namespace }, subset) => {
    if (policies.size === 0) return undefined;
    const ofApp = policyOf("App", appId, namespace);
    const version = subset?.[versionLabel];
    const own = version === undefined ? undefined : policyOf("AppVersion", `${appId}-${version}`, namespace);
    return own === undefined || ofApp === undefined ? (own ?? ofApp) : both(ofApp, own);
  };
}

const merged = new WeakMap<BalancingPolicy, { ofApp: BalancingPolicy; both: BalancingPolicy }>();

/** What a version has of its own stands in the place of what its app has. Of the same two it is the same object. */
function both(ofApp: BalancingPolicy, own: BalancingPolicy): BalancingPolicy {
  const known = merged.get(own);
  if (known?.ofApp === ofApp) return known.both;
  const made = { ofApp, both: { ...ofApp, ...own } };
  merged.set(own, made);
  return made.both;
}

/** A block of a target comes from one policy: the first that was loaded. */
function mergedPolicies(all: readonly Resource[], { principal, log }: BalancingRequest): Policies {
  const policies: Policies = new Map();
  const traffic = all.filter((one): one is TrafficPolicyResource => one.kind === "TrafficPolicy");
  const mine = traffic.filter(({ spec }) => spec.from.length === 0 || spec.from.includes(principal.appId));
  for (const { name, spec } of mine) {
    const given = blocks.filter((block) => spec[block] !== undefined);
    if (given.length === 0) continue;
    for (const target of spec.targets) {
      const key = `${target.kind} ${target.name}`;
      const policy = policies.get(key) ?? {};
      policies.set(key, policy);
      for (const block of given) {
        if (policy[block] === undefined) Object.assign(policy, { [block]: spec[block] });
        else log.warn({ policy: name, target: key }, `${block} is set by another TrafficPolicy already`);
      }
    }
  }
  return policies;
}
