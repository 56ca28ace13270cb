import { openHttpCaches } from "../api/cache.ts";
import { UsePolicies } from "../policy/use/use-policies.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { RuntimeResources } from "./resources.ts";

export interface UsePoliciesRequest {
  host: Host;
  principal: { namespace: string; appId: string };
  resources: Pick<RuntimeResources, "policies" | "onPolicies" | "components">;
  telemetry: Telemetry;
}

/** The policies round what an app uses; they follow its resources. */
export function openUsePolicies({ host, principal, resources, telemetry }: UsePoliciesRequest): UsePolicies {
  const { clock, random } = host.edges;
  const policies = new UsePolicies({ principal, telemetry, clock, random });
  const caches = openHttpCaches({ principal, telemetry, clock, random, components: resources.components });
  policies.caches = caches;
  const apply = (): void => {
    policies.apply(resources.policies);
    caches.apply(resources.policies);
  };
  apply();
  resources.onPolicies(apply);
  return policies;
}
