import { authorizationPolicies } from "../authorization/authorization-policies.ts";
import { rateLimitLayer } from "../rate-limit/layer.ts";
import { trafficPolicies } from "../traffic/traffic-policies.ts";
import type { UseLayerKind } from "./layer.ts";

/** Round all tries of the Resiliency policies, in request order. */
export const outerLayers: readonly UseLayerKind[] = [
  // Before anything is done for who may not.
  authorizationPolicies,
  // Before all tries: a use that has to wait or is refused is no failure of its target.
  rateLimitLayer,
];

/** Round each try, in request order. */
export const innerLayers: readonly UseLayerKind[] = [
  // Its own order of blocks is in traffic/order.ts.
  trafficPolicies,
];
