import { notPermitted, type ReferenceGrants } from "../../resource/reference-grant.ts";
import type { BackendTarget, HeaderChange, RouteFilter } from "../../resource/route.ts";
import type { AppName } from "../identity.ts";
import { type Subset, versionLabel } from "../subset.ts";

/** Whom a request goes to. */
export type Backend =
  | { kind: "app"; name: AppName; id: string; subset: Subset | undefined }
  | { kind: "endpoint"; id: string }
  | { kind: "invalid"; id: string; why: string };

/** Where references of a route point from. */
export interface BackendScope {
  /** Of the route. */
  kind: "HTTPRoute" | "GRPCRoute";
  namespace: string;
  /** Apps the route is attached to: `orders-v2` is the version `v2` of the one called `orders`. */
  apps: readonly string[];
  grants: Pick<ReferenceGrants, "isPermitted">;
}

export function backendOf(target: BackendTarget, scope: BackendScope): Backend {
  const { kind, name, invalid } = target;
  const namespace = target.namespace || scope.namespace;
  if (invalid !== undefined) return { kind: "invalid", id: name, why: invalid };
  const to = { kind, name, namespace };
  if (!scope.grants.isPermitted({ from: scope, to })) {
    return { kind: "invalid", id: name, why: notPermitted(to) };
  }
  if (kind === "HTTPEndpoint") return { kind: "endpoint", id: name };
  if (kind === "App") return { kind: "app", id: name, name: { namespace, appId: name }, subset: undefined };
  const version = versionOf(name, scope.apps);
  if (version === undefined) {
    return { kind: "invalid", id: name, why: `AppVersion ${name} is not spelled <app>-<version>` };
  }
  const subset = { [versionLabel]: version.label };
  return { kind: "app", id: name, name: { namespace, appId: version.appId }, subset };
}

/** An app the route is for wins; else what is behind the last hyphen is the version. */
function versionOf(name: string, apps: readonly string[]): { appId: string; label: string } | undefined {
  const known = apps
    .filter((app) => name.startsWith(`${app}-`) && name.length > app.length + 1)
    .sort((a, b) => b.length - a.length)[0];
  const at = known?.length ?? name.lastIndexOf("-");
  if (at <= 0 || at === name.length - 1) return undefined;
  return { appId: name.slice(0, at), label: name.slice(at + 1) };
}

/** A backend of a rule with its share and what it changes. */
export interface WeightedBackend {
  backend: Backend;
  weight: number;
  filters: readonly RouteFilter[];
  requestHeaders: HeaderChange | undefined;
  responseHeaders: HeaderChange | undefined;
}

/** Picks by weight; `undefined` when nothing has any. `chance` is at least 0 and below 1. */
export function pickWeighted(
  backends: readonly WeightedBackend[],
  totalWeight: number,
  chance: number,
): WeightedBackend | undefined {
  if (totalWeight === 0) return undefined;
  let left = chance * totalWeight;
  let last: WeightedBackend | undefined;
  for (const one of backends) {
    if (one.weight === 0) continue;
    last = one;
    if (left < one.weight) return one;
    left -= one.weight;
  }
  return last;
}
