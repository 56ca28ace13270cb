import type { ResourceSet } from "../../resource/load.ts";
import type { Problem } from "../../resource/problem.ts";
import type { Resource } from "../../resource/resource.ts";

/** What the rules look at: the resources that one or several apps see, before anything runs. */
export interface CheckedResources {
  set: ResourceSet;
  /** App ids, when all of them are known. */
  apps: ReadonlySet<string> | undefined;
  /** Of resources that name none. */
  namespace: string;
  /** Names of components by kind (`state`, `pubsub` …), those that exist without a resource included. */
  components: ReadonlyMap<string, string>;
}

/** One thing to look for, without starting anything. */
export type Rule = (checked: CheckedResources) => Problem[];

export function warning(resource: Resource, path: readonly (string | number)[], message: string): Problem {
  return { severity: "warning", message, source: resource.at(...path) };
}

export function failure(resource: Resource, path: readonly (string | number)[], message: string): Problem {
  return { severity: "error", message, source: resource.at(...path) };
}
