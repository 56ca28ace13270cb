import type { Resource } from "../../resource/resource.ts";
import type { GrpcRouteResource, HttpRouteResource } from "../../resource/route.ts";
import type { TrafficPolicyResource, TrafficTarget } from "../../resource/traffic.ts";
import { trafficPolicies } from "./reference-rules.ts";
import type { CheckedResources } from "./rule.ts";

/** What is done with the tries of a call on one way to its app: the nearest of the policies there says it. */
export interface CallWay {
  /** Who says it. */
  by: string;
  /** Tries more. */
  attempts: number;
  /** Of one try; 0: no limit. */
  tryMs: number;
  /** Of all of them; 0: no limit. */
  wholeMs: number;
}

type Resources = CheckedResources["set"];
type Route = HttpRouteResource | GrpcRouteResource;

/** The ways of calls of an app: one where it has no route, else one for each backend of each rule. */
export function waysTo(set: Resources, app: string): CallWay[] {
  const ofApp = retriesFor(set, "App", app);
  const routes = set.others
    .filter(isRoute)
    .filter(({ spec }) => spec.parents.some(({ kind, name }) => kind === "App" && name === app));
  if (routes.length === 0) return waysBy([ofApp]);
  return routes.flatMap((route) => route.spec.rules.flatMap((rule) => waysOf(set, route, rule, ofApp)));
}

function isRoute(one: Resource): one is Route {
  return one.kind === "HTTPRoute" || one.kind === "GRPCRoute";
}

function waysOf(
  set: Resources,
  { kind, name }: Route,
  { name: section, retry, backends, ...rule }: Route["spec"]["rules"][number],
  ofApp: TrafficPolicyResource | undefined,
): CallWay[] {
  const times = { tryMs: rule.backendRequestTimeoutMs, wholeMs: rule.requestTimeoutMs };
  if (retry !== undefined) return [{ by: `route ${name}`, attempts: retry.attempts, ...times }];
  const ofRoute = retriesFor(set, kind, name, section) ?? retriesFor(set, kind, name);
  const nearest = backends.map(
    ({ kind: of, name: version }) =>
      ofRoute ?? (of === "AppVersion" ? retriesFor(set, of, version) : undefined) ?? ofApp,
  );
  const isTimed = times.tryMs > 0 || times.wholeMs > 0;
  return waysBy(nearest).map((way) => (isTimed ? { ...way, ...times } : way));
}

function waysBy(policies: readonly (TrafficPolicyResource | undefined)[]): CallWay[] {
  return policies.flatMap((policy): CallWay[] => {
    const retries = policy?.spec.retries;
    if (policy === undefined || retries === undefined) return [];
    return [{ by: policy.name, attempts: retries.attempts, tryMs: retries.perTryTimeoutMs, wholeMs: 0 }];
  });
}

function retriesFor(
  set: Resources,
  kind: TrafficTarget["kind"],
  name: string,
  section = "",
): TrafficPolicyResource | undefined {
  const isIt = (target: TrafficTarget): boolean =>
    target.kind === kind && target.name === name && target.sectionName === section;
  return trafficPolicies(set).find(({ spec }) => spec.retries !== undefined && spec.targets.some(isIt));
}
