import { signalOf } from "../kit/cancellation.ts";
import type { RoutePolicyOf } from "../peer/routes/route-policy.ts";
import { runPlaced } from "../policy/use/use-policies.ts";
import type { AppScope } from "./call.ts";
import { httpShape } from "./http-shape.ts";

/** mecha's own policies round the HTTP calls that go by a route: TrafficPolicies of the rule, or else of the whole route. */
export function createRoutePolicy(app: () => AppScope): RoutePolicyOf {
  return ({ route, section }) => {
    const placed = app().policies.at("route", section === "" ? route : `${route}/${section}`);
    if (placed === undefined) return undefined;
    return {
      repeats: placed.repeats,
      run({ request, path, isRepeatable }, attempt) {
        const header = (lowerName: string) => request.header(lowerName);
        const use = { operation: request.method, names: [path], header };
        const shape = { ...httpShape, signal: request.signal, isRepeatable };
        return runPlaced({ placed, resilience: undefined }, use, (ended) => attempt(signalOf(ended)), shape);
      },
    };
  };
}
