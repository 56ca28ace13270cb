import type { Resource } from "./resource.ts";
import type { BackendTarget, GatewayResource, GrpcRouteResource, HttpRouteResource } from "./route.ts";

export const gatewayGroup = "gateway.networking.k8s.io";

export interface ReferenceGrantSpec {
  from: { group: string; kind: string; namespace: string }[];
  /** An empty name: all of the kind. */
  to: { group: string; kind: string; name: string }[];
}

export type ReferenceGrantResource = Resource<"ReferenceGrant", ReferenceGrantSpec>;

/** One resource that names another. */
export interface Reference {
  from: { kind: "HTTPRoute" | "GRPCRoute" | "Gateway"; namespace: string };
  to: { kind: BackendTarget["kind"] | "Secret"; name: string; namespace: string };
}

/** What may be referred to across namespaces. */
export class ReferenceGrants {
  readonly #grants: readonly ReferenceGrantResource[];
  readonly #namespace: string;

  /** `namespace` is that of resources which name none. */
  constructor(resources: readonly Resource[], namespace: string) {
    this.#grants = resources.filter(isGrant);
    this.#namespace = namespace;
  }

  /** Within a namespace there is nothing to ask. */
  isPermitted({ from, to }: Reference): boolean {
    if (from.namespace === to.namespace) return true;
    return this.#grants.some(
      ({ namespace, spec }) =>
        (namespace || this.#namespace) === to.namespace &&
        spec.from.some(
          ({ group, kind, namespace: theirs }) =>
            group === gatewayGroup && kind === from.kind && theirs === from.namespace,
        ) &&
        spec.to.some((one) => isOfKind(one, to.kind) && (one.name === "" || one.name === to.name)),
    );
  }
}

/** Kinds of backends are spelled in several ways. */
function isOfKind(
  { group, kind }: { group: string; kind: string },
  wanted: Reference["to"]["kind"],
): boolean {
  if (wanted === "Secret") return group === "" && kind === "Secret";
  if (wanted === "App")
    return (group === "" && kind === "Service") || (group === "mecha.run" && kind === "App");
  const isOwn = group === "mecha.run" || (wanted === "HTTPEndpoint" && group === "dapr.io");
  return isOwn && kind === wanted;
}

function isGrant(resource: Resource): resource is ReferenceGrantResource {
  return resource.kind === "ReferenceGrant";
}

/** Whether something of the namespace may use the grant: then it is seen there, though it is another's. */
export function isGrantFor(resource: Resource, namespace: string): boolean {
  return isGrant(resource) && resource.spec.from.some((from) => from.namespace === namespace);
}

export type RefNotPermitted = {
  resource: Resource;
  /** Where the reference stands. */
  path: (string | number)[];
  message: string;
};

type Referring = HttpRouteResource | GrpcRouteResource | GatewayResource;

/** References that no grant allows. */
export function refsNotPermitted(resources: readonly Resource[], namespace: string): RefNotPermitted[] {
  const grants = new ReferenceGrants(resources, namespace);
  return resources.filter(isReferring).flatMap((resource) => {
    const from = { kind: resource.kind, namespace: resource.namespace || namespace };
    return referencesOf(resource).flatMap(({ kind, name, namespace: theirs, path }) => {
      const to = { kind, name, namespace: theirs || from.namespace };
      return grants.isPermitted({ from, to }) ? [] : [{ resource, path, message: notPermitted(to) }];
    });
  });
}

export function notPermitted({ kind, name, namespace }: Reference["to"]): string {
  return `RefNotPermitted: no ReferenceGrant of ${namespace} allows ${kind} ${name}`;
}

function isReferring(resource: Resource): resource is Referring {
  return ["HTTPRoute", "GRPCRoute", "Gateway"].includes(resource.kind);
}

function referencesOf(resource: Referring): (Reference["to"] & { path: (string | number)[] })[] {
  if (resource.kind === "Gateway") {
    return resource.spec.listeners.flatMap(({ tls }, index) =>
      (tls?.secrets ?? []).map((secret, at) => {
        const path = ["spec", "listeners", index, "tls", "certificateRefs", at];
        return { kind: "Secret" as const, ...secret, path };
      }),
    );
  }
  return resource.spec.rules.flatMap(({ backends, filters }, rule) => [
    ...backends.map((target, at) => ({ ...target, path: ["spec", "rules", rule, "backendRefs", at] })),
    ...filters.flatMap((filter, at) => {
      if (filter.type !== "RequestMirror") return [];
      const path = ["spec", "rules", rule, "filters", at, "requestMirror", "backendRef"];
      return [{ ...filter.backend, path }];
    }),
  ]);
}
