import { openHttpCaches } from "../api/cache.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { UseContext } from "../policy/use/layer.ts";
import { UsePolicies } from "../policy/use/use-policies.ts";
import type { TrafficPolicyResource } from "../resource/traffic.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { countersOf } from "./counters.ts";
import type { Host } from "./host.ts";
import type { RuntimeResources } from "./resources.ts";

export interface UsePoliciesRequest {
  host: Host;
  principal: { namespace: string; appId: string };
  resources: Pick<RuntimeResources, "policies" | "onPolicies" | "components" | "isKnown" | "configuration">;
  telemetry: Telemetry;
}

/** The policies round what an app uses; they follow its resources. */
export function openUsePolicies(request: UsePoliciesRequest): UsePolicies {
  const { principal, resources, telemetry } = request;
  const context = useContextOf(request);
  const { clock, random } = context;
  const policies = new UsePolicies(context);
  const caches = openHttpCaches({ principal, telemetry, clock, random, components: resources.components });
  policies.caches = caches;
  const log = telemetry.log.scope("mecha.traffic");
  const told = new Set<string>();
  const apply = (): void => {
    policies.apply(resources.policies);
    caches.apply(resources.policies);
    for (const stray of strayTargets(resources)) {
      if (told.has(stray)) continue;
      told.add(stray);
      log.warn({}, `a TrafficPolicy is for ${stray}, which does not exist`);
    }
  };
  apply();
  resources.onPolicies(apply);
  return policies;
}

const routedKinds: readonly string[] = ["HTTPRoute", "GRPCRoute", "Gateway"];

/** Apps, actors and steps come and go; what files describe is known. */
function strayTargets(resources: Pick<RuntimeResources, "policies" | "isKnown">): string[] {
  const ours = resources.policies.filter((one): one is TrafficPolicyResource => one.kind === "TrafficPolicy");
  const targets = ours.flatMap(({ spec }) => spec.targets);
  return targets.flatMap(({ kind, name }) => {
    const isKnown =
      kind === "Component" || kind === "HTTPEndpoint"
        ? resources.isKnown(kind, name)
        : !routedKinds.includes(kind) ||
          resources.policies.some((one) => one.kind === kind && one.name === name);
    return isKnown ? [] : [`${kind} ${name}`];
  });
}

export function useContextOf({ host, principal, resources, telemetry }: UsePoliciesRequest): UseContext {
  const { clock, random } = host.edges;
  return {
    ...{ principal, telemetry, clock, random, counters: countersOf(host.store) },
    trustDomain: () => resources.configuration.accessControl?.trustDomain ?? trustDomainDefault,
  };
}
