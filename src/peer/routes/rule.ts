import type {
  CorsFilter,
  HeaderChange,
  MirrorFilter,
  RedirectFilter,
  RouteFilter,
  RouteRetry,
  RouteRule,
  SessionPersistence,
} from "../../resource/route.ts";
import { type Backend, type BackendScope, backendOf, type WeightedBackend } from "./backend.ts";
import type { RoutePlace } from "./route-policy.ts";

/** A rule of a route, its filters sorted by what they do. */
export interface CompiledRule {
  /** `namespace/name` of the route and the rule's name or place. */
  label: string;
  /** As policies name it. */
  place: RoutePlace;
  requestHeaders: HeaderChange | undefined;
  responseHeaders: HeaderChange | undefined;
  rewrite: Extract<RouteFilter, { type: "URLRewrite" }> | undefined;
  redirect: RedirectFilter | undefined;
  cors: CorsFilter | undefined;
  mirrors: readonly { backend: Backend; fraction: number }[];
  backends: readonly WeightedBackend[];
  totalWeight: number;
  requestTimeoutMs: number;
  backendRequestTimeoutMs: number;
  retry: RouteRetry | undefined;
  session: SessionPersistence | undefined;
}

export function compileRule(
  rule: RouteRule<unknown>,
  named: { label: string; route: string },
  scope: BackendScope,
): CompiledRule {
  const { filters, requestTimeoutMs, backendRequestTimeoutMs, retry, session } = rule;
  const backends = rule.backends.map(
    (ref): WeightedBackend => ({
      backend: backendOf(ref, scope),
      weight: ref.weight,
      filters: ref.filters,
      requestHeaders: filterOf(ref.filters, "RequestHeaderModifier"),
      responseHeaders: filterOf(ref.filters, "ResponseHeaderModifier"),
    }),
  );
  return {
    label: named.label,
    place: { kind: scope.kind, name: rule.name === "" ? named.route : `${named.route}/${rule.name}` },
    requestHeaders: filterOf(filters, "RequestHeaderModifier"),
    responseHeaders: filterOf(filters, "ResponseHeaderModifier"),
    rewrite: filterOf(filters, "URLRewrite"),
    redirect: filterOf(filters, "RequestRedirect"),
    cors: filterOf(filters, "CORS"),
    mirrors: mirrorsOf(filters, scope),
    backends,
    totalWeight: backends.reduce((sum, { weight }) => sum + weight, 0),
    ...{ requestTimeoutMs, backendRequestTimeoutMs, retry, session },
  };
}

export function filterOf<T extends RouteFilter["type"]>(
  filters: readonly RouteFilter[],
  type: T,
): Extract<RouteFilter, { type: T }> | undefined {
  return filters.find((filter): filter is Extract<RouteFilter, { type: T }> => filter.type === type);
}

function mirrorsOf(filters: readonly RouteFilter[], scope: BackendScope): CompiledRule["mirrors"] {
  return filters
    .filter((filter): filter is MirrorFilter => filter.type === "RequestMirror")
    .map(({ backend, fraction }) => ({ backend: backendOf(backend, scope), fraction }));
}
