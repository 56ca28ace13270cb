import type { FieldReader } from "./field-reader.ts";
import type {
  BackendRef,
  BackendTarget,
  GrpcRouteMatch,
  HttpRouteMatch,
  ParentRef,
  RouteRetry,
  RouteRule,
  RouteSpec,
  SessionPersistence,
  ValueMatch,
} from "./route.ts";
import { backendFilters, checkRegex, grpcFilters, readFilters } from "./route-filters.ts";

const verbs = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] as const;
const rulesMax = 1000;
const attemptsMax = 20;

/** Gateway API's HTTPRoute as the standard has it (docs/guide/routes.md). */
export function readHttpRoute(spec: FieldReader): RouteSpec<HttpRouteMatch> {
  const rules = readRules(spec, readHttpMatch, (rule) => ({
    filters: readFilters(rule),
    ...readTimeouts(rule),
    retry: readRetry(rule),
    session: readSession(rule),
  }));
  const anything: HttpRouteMatch = {
    path: { type: "PathPrefix", value: "/" },
    headers: [],
    queryParams: [],
    method: "",
  };
  for (const rule of rules) if (rule.matches.length === 0) rule.matches.push(anything);
  return { ...readParents(spec), rules };
}

/** Gateway API's GRPCRoute. */
export function readGrpcRoute(spec: FieldReader): RouteSpec<GrpcRouteMatch> {
  const rules = readRules(spec, readGrpcMatch, (rule) => {
    rule.missing("sessionPersistence");
    const filters = readFilters(rule, grpcFilters);
    return { filters, requestTimeoutMs: 0, backendRequestTimeoutMs: 0, retry: undefined, session: undefined };
  });
  const anything: GrpcRouteMatch = { method: { isRegex: false, service: "", method: "" }, headers: [] };
  for (const rule of rules) if (rule.matches.length === 0) rule.matches.push(anything);
  return { ...readParents(spec), rules };
}

function readParents(spec: FieldReader): Omit<RouteSpec<never>, "rules"> {
  const parents = spec.list("parentRefs").flatMap(readParent);
  const hostnames = spec.texts("hostnames").map((hostname) => hostname.toLowerCase());
  spec.missing("useDefaultGateways", (value) => value === "None" || value === "");
  if (!spec.has("parentRefs")) spec.warn("spec.parentRefs is missing: the route is attached to nothing");
  if (hostnames.length > 0 && parents.every(({ kind }) => kind === "App")) {
    spec.warn("hostnames have no effect on a route of apps: calls name the app, not a host", "hostnames");
  }
  return { parents, hostnames };
}

function readParent(ref: FieldReader): ParentRef[] {
  const kind = ref.text("kind", "Gateway");
  ref.text("group");
  const parent = {
    name: ref.requiredText("name"),
    namespace: ref.text("namespace"),
    sectionName: ref.text("sectionName"),
    port: ref.number("port", 0, { min: 1, max: 65_535 }),
  };
  if (kind === "Gateway") return [{ kind, ...parent }];
  if (kind === "App" || kind === "Service") {
    if (parent.sectionName !== "") ref.fail(`sectionName of ${kind} is not implemented`, "sectionName");
    return [{ kind: "App", ...parent }];
  }
  ref.fail(`kind must be App, Service or Gateway, got ${JSON.stringify(kind)}`, "kind");
  return [];
}

type RuleRest = Omit<RouteRule<unknown>, "name" | "matches" | "backends">;

function readRules<M>(
  spec: FieldReader,
  readMatch: (match: FieldReader) => M,
  readRest: (rule: FieldReader) => RuleRest,
): RouteRule<M>[] {
  const readers = spec.list("rules");
  if (readers.length > rulesMax) spec.fail(`a route has at most ${rulesMax} rules`, "rules");
  return readers.map((rule) => {
    const rest = readRest(rule);
    const backends = rule.list("backendRefs").map(readBackendRef);
    if (backends.length > 0 && rest.filters.some(({ type }) => type === "RequestRedirect")) {
      rule.fail("a rule that redirects has no backendRefs", "backendRefs");
    }
    const read: RouteRule<M> = {
      name: rule.text("name"),
      matches: rule.list("matches").map(readMatch),
      backends,
      ...rest,
    };
    checkPrefixes(rule, read as RouteRule<unknown>);
    return read;
  });
}

/** A prefix can only be replaced where each match is one of a prefix. */
function checkPrefixes(rule: FieldReader, { filters, matches }: RouteRule<unknown>): void {
  const replaces = filters.some(
    (filter) =>
      (filter.type === "URLRewrite" || filter.type === "RequestRedirect") &&
      filter.path?.type === "ReplacePrefixMatch",
  );
  const isPrefix = (match: unknown) => (match as HttpRouteMatch).path?.type === "PathPrefix";
  if (replaces && !matches.every(isPrefix)) {
    rule.fail("ReplacePrefixMatch needs matches of the type PathPrefix alone", "filters");
  }
}

function readHttpMatch(match: FieldReader): HttpRouteMatch {
  const path = match.object("path");
  const type = path?.oneOf("type", ["Exact", "PathPrefix", "RegularExpression"], "PathPrefix");
  const value = path?.text("value", "/") ?? "/";
  if (path && type === "RegularExpression") checkRegex(path, "value", value);
  else if (path) checkPath(path, value);
  return {
    path: { type: type ?? "PathPrefix", value },
    headers: match.list("headers").map(readValueMatch),
    queryParams: match.list("queryParams").map(readValueMatch),
    method: match.oneOf("method", ["", ...verbs], ""),
  };
}

function checkPath(path: FieldReader, value: string): void {
  const isFine = value.startsWith("/") && !/\/\/|\/\.{1,2}(\/|$)|%2f|[#?]/i.test(value);
  if (!isFine) {
    path.fail(`value must be a clean path that begins with a slash, got ${JSON.stringify(value)}`, "value");
  }
}

function readGrpcMatch(match: FieldReader): GrpcRouteMatch {
  const headers = match.list("headers").map(readValueMatch);
  const of = match.object("method");
  if (of === undefined) return { method: { isRegex: false, service: "", method: "" }, headers };
  const isRegex = of.oneOf("type", ["Exact", "RegularExpression"], "Exact") === "RegularExpression";
  const [service, method] = [of.text("service"), of.text("method")];
  if (service === "" && method === "") of.fail("method needs a service or a method");
  if (isRegex) {
    checkRegex(of, "service", service);
    checkRegex(of, "method", method);
  }
  return { method: { isRegex, service, method }, headers };
}

function readValueMatch(match: FieldReader): ValueMatch {
  const isRegex = match.oneOf("type", ["Exact", "RegularExpression"], "Exact") === "RegularExpression";
  const value = match.text("value");
  if (isRegex) checkRegex(match, "value", value);
  return { name: match.requiredText("name"), value, isRegex };
}

function readBackendRef(ref: FieldReader): BackendRef {
  const weight = ref.number("weight", 1, { min: 0, max: 1_000_000 });
  return { ...readBackendTarget(ref), weight, filters: readFilters(ref, backendFilters) };
}

const ownBackends: readonly string[] = ["App", "AppVersion"];

/** A kind that is not known does not make the file bad: its share of the requests is answered with 500. */
export function readBackendTarget(ref: FieldReader): BackendTarget {
  const kind = ref.text("kind", "Service");
  const group = ref.text("group");
  const target = { name: ref.requiredText("name"), namespace: ref.text("namespace") };
  // What Kubernetes' samples say; an app has one port.
  ref.number("port", 0, { min: 1, max: 65_535 });
  const isOwn = group === "" || group === "mecha.run";
  if (kind === "Service" && group === "") return { kind: "App", ...target };
  if (isOwn && ownBackends.includes(kind)) return { kind: kind as BackendTarget["kind"], ...target };
  if (kind === "HTTPEndpoint" && (isOwn || group === "dapr.io")) return { kind, ...target };
  const invalid = `no backend is of the kind ${group === "" ? kind : `${group}/${kind}`}`;
  ref.warn(`${invalid}: its requests are answered with 500`, "kind");
  return { kind: "App", ...target, invalid };
}

function readTimeouts(rule: FieldReader): { requestTimeoutMs: number; backendRequestTimeoutMs: number } {
  const timeouts = rule.object("timeouts");
  const requestTimeoutMs = timeouts?.duration("request", 0) ?? 0;
  const backendRequestTimeoutMs = timeouts?.duration("backendRequest", 0) ?? 0;
  if (timeouts && requestTimeoutMs > 0 && backendRequestTimeoutMs > requestTimeoutMs) {
    timeouts.fail("backendRequest must not be longer than request", "backendRequest");
  }
  return { requestTimeoutMs, backendRequestTimeoutMs };
}

function readRetry(rule: FieldReader): RouteRetry | undefined {
  const retry = rule.object("retry");
  if (retry === undefined) return undefined;
  const codes = retry.numbers("codes");
  for (const code of codes) {
    if (code < 400 || code > 599) retry.fail(`codes must be from 400 to 599, got ${code}`, "codes");
  }
  return {
    codes,
    attempts: retry.number("attempts", 1, { min: 0, max: attemptsMax }),
    backoffMs: retry.duration("backoff", 25),
  };
}

function readSession(rule: FieldReader): SessionPersistence | undefined {
  const session = rule.object("sessionPersistence");
  if (session === undefined) return undefined;
  const type = session.oneOf("type", ["Cookie", "Header"], "Cookie");
  session.missing("idleTimeout");
  const cookie = session.object("cookieConfig");
  const lifetime = cookie?.oneOf("lifetimeType", ["Session", "Permanent"], "Session");
  const absoluteTimeoutMs = session.duration("absoluteTimeout", 0);
  const isPermanent = lifetime === "Permanent";
  if (isPermanent && absoluteTimeoutMs === 0) {
    session.fail("a Permanent cookie needs an absoluteTimeout", "absoluteTimeout");
  }
  const sessionName = session.text("sessionName", "mecha-session");
  if (!/^[\w!#$%&'*+.^`|~-]{1,128}$/.test(sessionName)) {
    session.fail("sessionName must be a token of at most 128 characters", "sessionName");
  }
  return { type, sessionName, absoluteTimeoutMs, isPermanent };
}
