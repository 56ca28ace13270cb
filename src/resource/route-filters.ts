import type { FieldReader } from "./field-reader.ts";
import type {
  CorsFilter,
  HeaderChange,
  MirrorFilter,
  NamedValue,
  PathChange,
  RedirectFilter,
  RouteFilter,
} from "./route.ts";
import { readBackendTarget } from "./route-kinds.ts";

const types = [
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestRedirect",
  "URLRewrite",
  "RequestMirror",
  "CORS",
] as const;

/** What a single backend may change, and what a GRPCRoute may do. */
export const backendFilters = types.slice(0, 2);
export const grpcFilters = [...backendFilters, "RequestMirror"];

const redirects = [301, 302, 303, 307, 308];
const filtersMax = 16;

/** `filters` of a rule or a backend: each at most once, but mirrors. */
export function readFilters(owner: FieldReader, allowed: readonly string[] = types): RouteFilter[] {
  const readers = owner.list("filters");
  for (const reader of readers) {
    const type = reader.text("type");
    const isKnown = types.some((one) => one === type);
    if (isKnown && !allowed.includes(type))
      reader.fail(`the filter ${type} is not implemented here; remove it`, "type");
  }
  if (readers.length > filtersMax) owner.fail(`there may be at most ${filtersMax} filters`, "filters");
  const filters = readers.flatMap(readFilter);
  const once = filters.map(({ type }) => type).filter((type) => type !== "RequestMirror");
  const twice = once.find((type, index) => once.indexOf(type) !== index);
  if (twice !== undefined) owner.fail(`there may be one filter of the type ${twice}`, "filters");
  if (once.includes("RequestRedirect") && once.includes("URLRewrite")) {
    owner.fail("RequestRedirect and URLRewrite exclude each other", "filters");
  }
  return filters;
}

/** A regular expression that can be used; it has to match the whole value. */
export function checkRegex(reader: FieldReader, field: string, pattern: string): void {
  try {
    compileRegex(pattern);
  } catch (error) {
    reader.fail(`${field} is no regular expression: ${(error as Error).message}`, field);
  }
}

/** `(?i)` in front, as RE2 has it, is understood. */
export function compileRegex(pattern: string): RegExp {
  const isLoose = pattern.startsWith("(?i)");
  return new RegExp(`^(?:${isLoose ? pattern.slice(4) : pattern})$`, isLoose ? "i" : "");
}

function readFilter(filter: FieldReader): RouteFilter[] {
  const type = filter.text("type");
  switch (type) {
    case "RequestHeaderModifier":
      return one(filter, "requestHeaderModifier", (reader) => ({ type, ...readHeaderChange(reader) }));
    case "ResponseHeaderModifier":
      return one(filter, "responseHeaderModifier", (reader) => ({ type, ...readHeaderChange(reader) }));
    case "RequestRedirect":
      return one(filter, "requestRedirect", readRedirect);
    case "URLRewrite":
      return one(filter, "urlRewrite", (reader) => ({
        type,
        hostname: reader.text("hostname"),
        path: readPathChange(reader),
      }));
    case "RequestMirror":
      return one(filter, "requestMirror", readMirror);
    case "CORS":
      return one(filter, "cors", readCors);
    case "ExtensionRef":
    case "ExternalAuth":
      filter.fail(`the filter ${type} is not implemented; remove it`, "type");
      filter.takeAll();
      return [];
    default:
      filter.fail(`type must be one of ${types.join(", ")}, got ${JSON.stringify(type)}`, "type");
      filter.takeAll();
      return [];
  }
}

function one(filter: FieldReader, field: string, read: (reader: FieldReader) => RouteFilter): RouteFilter[] {
  const reader = filter.object(field);
  if (reader !== undefined) return [read(reader)];
  filter.fail(`${field} is missing`, "type");
  return [];
}

function readHeaderChange(reader: FieldReader): HeaderChange {
  return {
    set: reader.list("set").map(readPair),
    add: reader.list("add").map(readPair),
    remove: reader.texts("remove").map((name) => name.toLowerCase()),
  };
}

function readPair(pair: FieldReader): NamedValue {
  const name = pair.requiredText("name");
  const value = pair.text("value");
  if (name !== "" && !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) pair.fail("name must be a header's name", "name");
  if (/[\0\r\n]/.test(value)) pair.fail("value must be one line", "value");
  return { name, value };
}

function readRedirect(reader: FieldReader): RedirectFilter {
  const statusCode = reader.number("statusCode", 302);
  if (!redirects.includes(statusCode)) {
    reader.fail(`statusCode must be one of ${redirects.join(", ")}, got ${statusCode}`, "statusCode");
  }
  return {
    type: "RequestRedirect",
    scheme: reader.oneOf("scheme", ["", "http", "https"], ""),
    hostname: reader.text("hostname"),
    port: reader.number("port", 0, { min: 1, max: 65_535 }),
    path: readPathChange(reader),
    statusCode,
  };
}

function readPathChange(owner: FieldReader): PathChange | undefined {
  const path = owner.object("path");
  if (path === undefined) return undefined;
  const type = path.oneOf("type", ["ReplaceFullPath", "ReplacePrefixMatch"], "ReplaceFullPath");
  const value = type === "ReplaceFullPath" ? path.text("replaceFullPath") : path.text("replacePrefixMatch");
  if (/[\0-\x20?#]/.test(value)) path.fail("the new path must be a path without a query");
  return { type, value };
}

function readMirror(reader: FieldReader): MirrorFilter {
  const ref = reader.object("backendRef");
  if (ref === undefined) reader.fail("backendRef is missing", "backendRef");
  const percent = reader.number("percent", -1, { min: 0, max: 100 });
  const fraction = reader.object("fraction");
  if (fraction && percent >= 0) reader.fail("percent and fraction exclude each other", "fraction");
  const numerator = fraction?.number("numerator", 0, { min: 0 }) ?? 0;
  const denominator = fraction?.number("denominator", 100, { min: 1 }) ?? 100;
  if (numerator > denominator) reader.fail("fraction must not be more than 1", "fraction");
  const share = fraction ? numerator / denominator : percent < 0 ? 1 : percent / 100;
  const backend = ref ? readBackendTarget(ref) : ({ kind: "App", name: "", namespace: "" } as const);
  return { type: "RequestMirror", backend, fraction: share };
}

function readCors(reader: FieldReader): CorsFilter {
  return {
    type: "CORS",
    allowOrigins: reader.texts("allowOrigins"),
    allowCredentials: reader.flag("allowCredentials", false),
    allowMethods: reader.texts("allowMethods"),
    allowHeaders: reader.texts("allowHeaders"),
    exposeHeaders: reader.texts("exposeHeaders"),
    maxAgeSeconds: reader.number("maxAge", 5, { min: 0, max: 86_400 }),
  };
}
