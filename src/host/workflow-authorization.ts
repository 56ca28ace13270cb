import type { WorkflowAuthorization } from "../engine/workflow/gate.ts";
import { guardOf, type UseGuard } from "../policy/authorization/authorization-policies.ts";
import { type UsePoliciesRequest, useContextOf } from "./use-policies.ts";

/** Names come from other apps. */
const guardsMax = 10_000;

/**
 * What AuthorizationPolicies say of other apps that start the workflows of this one or send them something; they follow
 * its resources. Activities of other apps are a matter of WorkflowAccessPolicies.
 */
export function openWorkflowAuthorization(request: UsePoliciesRequest): WorkflowAuthorization {
  const { resources } = request;
  const context = useContextOf(request);
  const guards = new Map<string, UseGuard | undefined>();
  resources.onPolicies(() => guards.clear());
  const guardAt = (target: string): UseGuard | undefined => {
    if (resources.policies.length === 0) return undefined;
    if (guards.has(target)) return guards.get(target);
    if (guards.size >= guardsMax) guards.clear();
    const guard = guardOf(resources.policies, { block: "workflow", target }, context);
    guards.set(target, guard);
    return guard;
  };
  return (caller, { kind, operation: asked, name, instanceId }) => {
    if (kind === "activity") return true;
    const operation = asked === "schedule" ? "start" : asked;
    const { appId, namespace } = caller;
    const use = { operation, names: [instanceId], header: () => undefined };
    return guardAt(name)?.(use, { appId, namespace }) ?? true;
  };
}
