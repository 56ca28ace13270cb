import type { AuthorizationPolicyResource, OperationSubject } from "../../resource/authorization.ts";
import type { Resource } from "../../resource/resource.ts";
import { compilePolicy } from "./compile.ts";
import { Judge } from "./judge.ts";

/** What is guarded. */
export interface GuardedPlace {
  subject: Exclude<OperationSubject, "component">;
  /** Of the runtime that asks. */
  appId: string;
  /** The component, the actor's type or the workflow; of calls nothing. */
  name: string;
  isOfComponent: boolean;
}

/** The judge of a place; `undefined` when no policy is for it. */
export function judgeOf(resources: readonly Resource[], place: GuardedPlace): Judge | undefined {
  const policies = resources.filter(isPolicy).filter((policy) => isFor(policy, place));
  return policies.length === 0 ? undefined : new Judge(policies.map(compilePolicy));
}

function isPolicy(resource: Resource): resource is AuthorizationPolicyResource {
  return resource.kind === "AuthorizationPolicy";
}

function isFor({ spec }: AuthorizationPolicyResource, place: GuardedPlace): boolean {
  const { subject, appId, name, isOfComponent } = place;
  const speaks = (): boolean => subjectsOf(spec).has(subject);
  if (spec.targets.length === 0) return speaks();
  return spec.targets.some((target) => {
    if (target.kind === "App") return target.name === appId && speaks();
    if (target.kind === "Component") return isOfComponent && target.name === name;
    return subject === (target.kind === "ActorType" ? "actors" : "workflows") && target.name === name;
  });
}

/** A policy that targets no component speaks of calls, unless its operations name something else. */
function subjectsOf({ rules }: AuthorizationPolicyResource["spec"]): ReadonlySet<string> {
  const named = rules.flatMap(({ to }) =>
    to.length === 0 ? ["call"] : to.map(({ subject }) => subject as string),
  );
  return new Set(named.length === 0 ? ["call"] : named);
}
