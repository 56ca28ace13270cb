import { ReferenceGrants, type RefNotPermitted, refsNotPermitted } from "../../resource/reference-grant.ts";
import type { Resource } from "../../resource/resource.ts";
import type {
  GatewayListener,
  GatewayResource,
  GrpcRouteMatch,
  GrpcRouteResource,
  HttpRouteMatch,
  HttpRouteResource,
  ParentRef,
} from "../../resource/route.ts";
import type { AppName } from "../identity.ts";
import type { BackendScope } from "./backend.ts";
import { type GrpcEntry, GrpcTable } from "./grpc-table.ts";
import { commonHostname, hostnamesFor } from "./hostname.ts";
import { type HttpEntry, HttpTable } from "./http-table.ts";
import type { RoutePlace } from "./route-policy.ts";
import { compileRule } from "./rule.ts";

type RouteResource = HttpRouteResource | GrpcRouteResource;

/** The routes of one app as its resources have them, compiled once. */
export class Routes {
  readonly #http = new Map<string, HttpTable>();
  readonly #grpc = new Map<string, GrpcTable>();
  readonly #routes: readonly RouteResource[];
  readonly #namespace: string;
  readonly #grants: ReferenceGrants;
  /** Of routes and Gateways. */
  readonly refsNotPermitted: readonly RefNotPermitted[];

  constructor(resources: readonly Resource[], namespace: string) {
    this.#namespace = namespace;
    this.#grants = new ReferenceGrants(resources, namespace);
    this.refsNotPermitted = refsNotPermitted(resources, namespace);
    this.#routes = resources.filter(isRoute);
    const apps = new Map<string, RouteResource[]>();
    for (const route of this.#routes) {
      for (const key of new Set(this.#parentsOf(route, "App").map((parent) => this.#keyOf(parent, route)))) {
        apps.set(key, [...(apps.get(key) ?? []), route]);
      }
    }
    for (const [key, routes] of apps) this.#compile(key, routes);
  }

  /** `undefined`: no route is for calls of this app. */
  httpOf({ namespace, appId }: AppName): HttpTable | undefined {
    return this.#http.get(`${namespace}/${appId}`);
  }

  grpcOf({ namespace, appId }: AppName): GrpcTable | undefined {
    return this.#grpc.get(`${namespace}/${appId}`);
  }

  /** What comes in by a port of a gateway: of the listeners there. */
  gatewayTables(gateway: GatewayResource, listeners: readonly GatewayListener[]): GatewayTables {
    const http: HttpEntry[] = [];
    const grpc: GrpcEntry[] = [];
    const home = gateway.namespace || this.#namespace;
    for (const listener of listeners) {
      for (const route of this.#routes) {
        const isAttached = this.#parentsOf(route, "Gateway").some(
          (parent) =>
            this.#keyOf(parent, route) === `${home}/${gateway.name}` &&
            (parent.sectionName === "" || parent.sectionName === listener.name) &&
            (parent.port === 0 || parent.port === listener.port) &&
            (listener.routesFrom === "All" || (route.namespace || this.#namespace) === home) &&
            (listener.routeKinds.length === 0 || listener.routeKinds.includes(route.kind)),
        );
        if (!isAttached) continue;
        const hostnames = route.spec.hostnames.length === 0 ? [""] : route.spec.hostnames;
        for (const wanted of hostnames) {
          const hostname = commonHostname(wanted, listener.hostname);
          if (hostname === undefined) continue;
          if (route.kind === "HTTPRoute") http.push(...this.#httpEntries(route, hostname));
          else grpc.push(...this.#grpcEntries(route, hostname));
        }
      }
    }
    return {
      http: new HttpTable(http, true),
      grpc: new GrpcTable(grpc),
      placeOf: (hostname) => ({ kind: "Gateway", name: listenerName(gateway, listeners, hostname) }),
    };
  }

  #compile(key: string, routes: readonly RouteResource[]): void {
    const http = routes.filter((route) => route.kind === "HTTPRoute");
    const grpc = routes.filter((route) => route.kind === "GRPCRoute");
    if (http.length > 0) {
      const entries = http.flatMap((route) => this.#httpEntries(route, ""));
      this.#http.set(key, new HttpTable(entries, false));
    }
    if (grpc.length > 0) {
      this.#grpc.set(key, new GrpcTable(grpc.flatMap((route) => this.#grpcEntries(route, ""))));
    }
  }

  #httpEntries(route: HttpRouteResource, hostname: string): HttpEntry[] {
    return this.#entries<HttpRouteMatch>(route, hostname);
  }

  #grpcEntries(route: GrpcRouteResource, hostname: string): GrpcEntry[] {
    return this.#entries<GrpcRouteMatch>(route, hostname);
  }

  #entries<M>(
    route: Resource<RouteResource["kind"], HttpRouteResource["spec"] | GrpcRouteResource["spec"]>,
    hostname: string,
  ) {
    const namespace = route.namespace || this.#namespace;
    const routeName = `${namespace}/${route.name}`;
    const scope: BackendScope = {
      kind: route.kind,
      namespace,
      apps: route.spec.parents.filter(({ kind }) => kind === "App").map(({ name }) => name),
      grants: this.#grants,
    };
    const createdAtMs = route.createdAtMs ?? Number.POSITIVE_INFINITY;
    return route.spec.rules.flatMap((rule, index) => {
      const named = { label: `${routeName}#${rule.name || index}`, route: route.name };
      const compiled = compileRule(rule, named, scope);
      const matches = rule.matches as M[];
      return matches.map((match) => ({ match, rule: compiled, hostname, createdAtMs, routeName }));
    });
  }

  #parentsOf(route: RouteResource, kind: ParentRef["kind"]): ParentRef[] {
    return route.spec.parents.filter((parent) => parent.kind === kind);
  }

  #keyOf(parent: ParentRef, route: RouteResource): string {
    return `${parent.namespace || route.namespace || this.#namespace}/${parent.name}`;
  }
}

/** What comes in by a port. */
export interface GatewayTables {
  http: HttpTable;
  grpc: GrpcTable;
  /** Where the policies of its listener for a hostname stand. */
  placeOf(hostname: string): RoutePlace;
}

/** Of several listeners on a port the one with the narrowest hostname. */
function listenerName(
  { name }: GatewayResource,
  listeners: readonly GatewayListener[],
  hostname: string,
): string {
  for (const pattern of hostnamesFor(hostname)) {
    const listener = listeners.find((one) => one.hostname === pattern);
    if (listener !== undefined) return `${name}/${listener.name}`;
  }
  return name;
}

function isRoute(resource: Resource): resource is RouteResource {
  return resource.kind === "HTTPRoute" || resource.kind === "GRPCRoute";
}

/** `undefined`: there are none, and nothing is paid. */
export function compileRoutes(resources: readonly Resource[], namespace: string): Routes | undefined {
  return resources.some((one) => isRoute(one) || one.kind === "Gateway")
    ? new Routes(resources, namespace)
    : undefined;
}
