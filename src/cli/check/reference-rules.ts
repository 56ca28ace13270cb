import { didYouMean } from "../../kit/nearest.ts";
import type { Problem } from "../../resource/problem.ts";
import type { Destination, Resource } from "../../resource/resource.ts";
import type { TrafficPolicyResource } from "../../resource/traffic.ts";
import { type CheckedResources, failure, type Rule, warning } from "./rule.ts";

/** Everything that names an app names one that there is. */
export const appReferences: Rule = ({ set, apps }) => {
  if (apps === undefined) return [];
  const known = new Set([...apps, ...set.httpEndpoints.map(({ name }) => name)]);
  const problems: Problem[] = [];
  const look = (resource: Resource, name: string, ...path: (string | number)[]): void => {
    const [id = ""] = name.split(".");
    if (known.has(id) || known.has(name) || /^https?:/.test(name)) return;
    const message = `no app is called ${JSON.stringify(name)}${didYouMean(id, known)}`;
    problems.push(warning(resource, path, message));
  };
  const toApp = (resource: Resource, to: Destination | undefined, ...path: string[]): void => {
    if (to?.kind === "app") look(resource, to.id, ...path);
  };
  for (const resource of all(set)) {
    for (const [index, scope] of resource.scopes.entries()) look(resource, scope, "scopes", index);
  }
  for (const resiliency of set.resiliencies) {
    for (const name of namesIn(resiliency.spec, "targets", "apps"))
      look(resiliency, name, "spec", "targets", "apps", name);
  }
  for (const schedule of set.schedules) toApp(schedule, schedule.spec.to, "spec", "to");
  for (const singleton of set.singletons) {
    for (const [index, member] of singleton.spec.members.entries())
      look(singleton, member, "spec", "members", index);
    toApp(singleton, singleton.spec.onAcquire, "spec", "onAcquire");
    toApp(singleton, singleton.spec.onLose, "spec", "onLose");
  }
  for (const idempotency of set.idempotencies) {
    for (const [index, { kind, name }] of idempotency.spec.targets.entries())
      if (kind === "App") look(idempotency, name, "spec", "targetRefs", index, "name");
  }
  for (const policy of trafficPolicies(set)) {
    for (const [index, { kind, name }] of policy.spec.targets.entries())
      if (kind === "App" || kind === "HTTPEndpoint") look(policy, name, "spec", "targetRefs", index, "name");
  }
  return problems;
};

/** Everything that names a component names one that there is, of the right kind. */
export const componentReferences: Rule = ({ set, components }) => {
  const problems: Problem[] = [];
  const look = (resource: Resource, name: string, kind: string, ...path: (string | number)[]): void => {
    const found = components.get(name);
    if (found === undefined) {
      const message = `no component is called ${JSON.stringify(name)}${didYouMean(name, components.keys())}`;
      problems.push(warning(resource, path, message));
    } else if (kind !== "" && found !== kind) {
      problems.push(failure(resource, path, `component ${name} is of kind ${found}, not ${kind}`));
    }
  };
  for (const subscription of set.subscriptions)
    look(subscription, subscription.spec.pubsubname, "pubsub", "spec", "pubsubname");
  for (const resiliency of set.resiliencies) {
    for (const name of namesIn(resiliency.spec, "targets", "components"))
      look(resiliency, name, "", "spec", "targets", "components", name);
  }
  for (const schedule of set.schedules) {
    const { to } = schedule.spec;
    if (to.kind === "topic") look(schedule, to.pubsub, "pubsub", "spec", "to");
  }
  for (const idempotency of set.idempotencies) {
    for (const [index, { kind, name }] of idempotency.spec.targets.entries())
      if (kind === "Component") look(idempotency, name, "bindings", "spec", "targetRefs", index, "name");
  }
  for (const policy of trafficPolicies(set)) {
    for (const [index, { kind, name }] of policy.spec.targets.entries())
      if (kind === "Component") look(policy, name, "", "spec", "targetRefs", index, "name");
  }
  for (const component of [...set.components, ...set.httpEndpoints]) {
    const { secretStore } = component;
    if (secretStore !== undefined && secretStore !== "kubernetes")
      look(component, secretStore, "secretstores", "auth", "secretStore");
  }
  return problems;
};

export function trafficPolicies({ others }: CheckedResources["set"]): TrafficPolicyResource[] {
  return others.filter((one): one is TrafficPolicyResource => one.kind === "TrafficPolicy");
}

function all(set: CheckedResources["set"]): Resource[] {
  return Object.values(set).flatMap((list) => (Array.isArray(list) ? (list as Resource[]) : []));
}

function namesIn(spec: unknown, ...path: string[]): string[] {
  let at = spec;
  for (const name of path) at = (at as Record<string, unknown> | undefined)?.[name];
  return Object.keys(at ?? {});
}
