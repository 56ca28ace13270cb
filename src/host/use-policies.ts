import { openHttpCaches } from "../api/cache.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import { UsePolicies } from "../policy/use/use-policies.ts";
import type { TrafficPolicyResource } from "../resource/traffic.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { RuntimeResources } from "./resources.ts";

export interface UsePoliciesRequest {
  host: Host;
  principal: { namespace: string; appId: string };
  resources: Pick<RuntimeResources, "policies" | "onPolicies" | "components" | "isKnown" | "configuration">;
  telemetry: Telemetry;
}

/** The policies round what an app uses; they follow its resources. */
export function openUsePolicies({ host, principal, resources, telemetry }: UsePoliciesRequest): UsePolicies {
  const { clock, random } = host.edges;
  const policies = new UsePolicies({
    ...{ principal, telemetry, clock, random },
    trustDomain: () => resources.configuration.accessControl?.trustDomain ?? trustDomainDefault,
  });
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

/** Apps, actors and steps come and go; what files describe is known. */
function strayTargets(resources: Pick<RuntimeResources, "policies" | "isKnown">): string[] {
  const ours = resources.policies.filter((one): one is TrafficPolicyResource => one.kind === "TrafficPolicy");
  const targets = ours.flatMap(({ spec }) => spec.targets);
  return targets.flatMap(({ kind, name }) => {
    const isFiled = kind === "Component" || kind === "HTTPEndpoint";
    return isFiled && !resources.isKnown(kind, name) ? [`${kind} ${name}`] : [];
  });
}
