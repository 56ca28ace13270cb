import type { ActorAuthorization } from "../engine/actors/actors.ts";
import type { WorkflowAuthorization } from "../engine/workflow/gate.ts";
import { guardOf, type UseGuard } from "../policy/authorization/authorization-policies.ts";
import type { Place } from "../policy/use/layer.ts";
import { type UsePoliciesRequest, useContextOf } from "./use-policies.ts";

/** Names come from other apps. */
const guardsMax = 10_000;

/**
 * What AuthorizationPolicies say of other apps that start the workflows of this one or send them something; they follow
 * its resources. Activities of other apps are a matter of WorkflowAccessPolicies.
 */
export function openWorkflowAuthorization(request: UsePoliciesRequest): WorkflowAuthorization {
  const guardAt = openGuards(request);
  return (caller, { kind, operation: asked, name, instanceId }) => {
    if (kind === "activity") return true;
    const operation = asked === "schedule" ? "start" : asked;
    const use = { operation, names: [instanceId], header: () => undefined };
    return guardAt({ block: "workflow", target: name })?.(use, caller) ?? true;
  };
}

/** The same of other runtimes that call the actors here. */
export function openActorAuthorization(request: UsePoliciesRequest): ActorAuthorization {
  const guardAt = openGuards(request);
  return (caller, { type, id, method, header }) => {
    const use = { operation: "invoke", names: [id], method, header };
    return guardAt({ block: "actor", target: type })?.(use, caller) ?? true;
  };
}

function openGuards(request: UsePoliciesRequest): (place: Place) => UseGuard | undefined {
  const { resources } = request;
  const context = useContextOf(request);
  const guards = new Map<string, UseGuard | undefined>();
  resources.onPolicies(() => guards.clear());
  return (place) => {
    if (resources.policies.length === 0) return undefined;
    const { target } = place;
    if (guards.has(target)) return guards.get(target);
    if (guards.size >= guardsMax) guards.clear();
    const guard = guardOf(resources.policies, place, context);
    guards.set(target, guard);
    return guard;
  };
}
