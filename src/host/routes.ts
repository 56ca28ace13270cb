import { compileRoutes, type Routes } from "../peer/routes/routes.ts";
import type { RuntimeResources } from "./resources.ts";

/** The routes of an app as its resources have them now: compiled when they change, not when they are asked for. */
export function openRoutes(
  resources: Pick<RuntimeResources, "policies" | "onPolicies">,
  namespace: string,
): () => Routes | undefined {
  let routes = compileRoutes(resources.policies, namespace);
  resources.onPolicies(() => {
    routes = compileRoutes(resources.policies, namespace);
  });
  return () => routes;
}
