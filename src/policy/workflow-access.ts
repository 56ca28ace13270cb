import type { WorkflowAccessPolicyResource, WorkflowOperation } from "../resource/resource.ts";

/** What another app wants to do with a workflow or activity. */
export interface WorkflowAccessRequest {
  /** App id of the caller, of the same namespace. */
  caller: string;
  kind: "workflow" | "activity";
  operation: WorkflowOperation;
  name: string;
}

/** The WorkflowAccessPolicies of one app together: what no rule names is denied. */
export class WorkflowAccess {
  readonly #rules: readonly WorkflowAccessPolicyResource["spec"]["rules"][number][];

  constructor(policies: readonly WorkflowAccessPolicyResource[]) {
    this.#rules = policies.flatMap(({ spec }) => spec.rules);
  }

  allows({ caller, kind, operation, name }: WorkflowAccessRequest): boolean {
    return this.#rules.some(({ callers, workflows, activities }) => {
      if (!callers.includes(caller)) return false;
      if (kind === "activity") return activities.some((glob) => glob.test(name));
      return workflows.some((rule) => rule.operations.includes(operation) && rule.name.test(name));
    });
  }
}
