import { parseQuantity } from "../kit/quantity.ts";
import type { FieldReader } from "./field-reader.ts";
import type { Problem } from "./problem.ts";
import type { Resource } from "./resource.ts";
import type { BatchSpec, CacheSpec, CollapseSpec, TrafficPolicyResource, TrafficTarget } from "./traffic.ts";

const kib = 1024;
const bodyDefault = 1024 * kib;
const bodyMax = 64 * 1024 * kib;
const memoryDefault = 64 * 1024 * kib;
const memoryMin = 64 * kib;
const dayMs = 86_400_000;
const staleMaxMs = 30 * dayMs;
const storeTimeoutDefaultMs = 250;
const storeTimeoutMaxMs = 10_000;
const listMax = 64;
const expressionLengthMax = 4096;

/** Targets whose answers are HTTP. */
const cachedKinds: readonly TrafficTarget["kind"][] = [
  "App",
  "HTTPEndpoint",
  "HTTPRoute",
  "AppVersion",
  "Gateway",
];

/** Answers kept for later callers (docs/guide/cache.md). */
export function readCache(spec: FieldReader, targets: readonly TrafficTarget[]): CacheSpec | undefined {
  const cache = spec.object("cache");
  if (cache === undefined) return undefined;
  checkTargets(spec, "cache", targets);
  const ttlMs = cache.duration("ttl", undefined);
  const cookies = cache.texts("cookies");
  if (cookies.length > 0 && ttlMs === undefined) cache.fail("cookies needs a ttl", "cookies");
  if (ttlMs !== undefined && ttlMs <= 0) cache.fail("ttl must be longer than 0", "ttl");
  return {
    ttlMs,
    cookies,
    methods: readMethods(cache),
    vary: names(cache, "vary"),
    key: readKey(cache),
    ignoreRequestCacheControl: cache.flag("ignoreRequestCacheControl", false),
    staleWhileRevalidateMs: bounded(cache, "staleWhileRevalidate", 0, staleMaxMs),
    staleIfErrorMs: bounded(cache, "staleIfError", 0, staleMaxMs),
    maxBodyBytes: bytes(cache, "maxBodyBytes", bodyDefault, { min: 1, max: bodyMax }),
    store: cache.text("store", "memory"),
    storeTimeoutMs: bounded(cache, "storeTimeout", storeTimeoutDefaultMs, storeTimeoutMaxMs),
    maxBytes: bytes(cache, "maxBytes", memoryDefault, { min: memoryMin, max: Number.MAX_SAFE_INTEGER }),
    tags: cache.text("tags"),
  };
}

/** Equal requests in flight that share one call. */
export function readCollapse(spec: FieldReader, targets: readonly TrafficTarget[]): CollapseSpec | undefined {
  const collapse = spec.object("collapse");
  if (collapse === undefined) return undefined;
  checkTargets(spec, "collapse", targets);
  const batch = collapse.object("batch");
  const other = targets.find(({ kind }) => kind !== "App" && kind !== "HTTPEndpoint");
  if (batch !== undefined && other !== undefined)
    spec.fail(`collapse.batch is for targets of kind App and HTTPEndpoint, not ${other.kind}`, "collapse");
  const singleFlight = collapse.flag("singleFlight", true);
  return batch === undefined ? { singleFlight } : { singleFlight, batch: readBatch(batch) };
}

const batchMax = 1000;
const batchWindowMaxMs = 1_000;

function readBatch(batch: FieldReader): BatchSpec {
  const windowMs = bounded(batch, "window", 10, batchWindowMaxMs);
  const max = batch.number("max", 100, { min: 2, max: batchMax });
  const key = batch.requiredText("key");
  if (key !== "" && !/^\/[^{}]*\{id\}[^{}]*$/.test(key))
    batch.fail("key must be a path with {id} in one place, such as /users/{id}", "key");
  const template = batch.object("requestTemplate");
  const method = template?.text("method") || "GET";
  const path = template?.requiredText("path") ?? "";
  const body = template?.text("body") ?? "";
  if (template === undefined) batch.fail("requestTemplate is missing", "requestTemplate");
  else {
    if (method !== "GET" && method !== "POST") template.fail("method must be GET or POST", "method");
    if (method === "GET" && body !== "") template.fail("a GET has no body", "body");
    if (path !== "" && !path.startsWith("/")) template.fail("path must begin with a slash", "path");
    if (!`${path}${body}`.includes("{ids}")) template.fail("path or body must hold {ids}", "path");
  }
  const split = batch.object("split");
  const items = split?.text("items") ?? "";
  if (items !== "" && !items.startsWith("/"))
    split?.fail("items must be a JSON pointer, such as /users", "items");
  return {
    windowMs,
    max,
    key,
    request: { method, path, body },
    split: { items, id: split?.text("id") ?? "" },
  };
}

/** Checks the expressions of tags. Apart from the reading, because CEL is loaded only where there is some. */
export async function checkCacheTags(resources: readonly Resource[]): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const resource of resources) {
    if (resource.kind !== "TrafficPolicy") continue;
    const { tags = "" } = (resource as TrafficPolicyResource).spec.cache ?? {};
    const why = tags === "" ? undefined : await whyNoExpression(tags);
    if (why === undefined) continue;
    const message = `tags must be a CEL expression over request and response: ${why}`;
    problems.push({ severity: "error", message, source: resource.at("spec", "cache", "tags") });
  }
  return problems;
}

async function whyNoExpression(expression: string): Promise<string | undefined> {
  if (expression.length > expressionLengthMax) return `longer than ${expressionLengthMax} characters`;
  const { parse } = await import("@bufbuild/cel");
  try {
    parse(expression);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function checkTargets(spec: FieldReader, block: string, targets: readonly TrafficTarget[]): void {
  const other = targets.find(({ kind }) => !cachedKinds.includes(kind));
  if (other === undefined) return;
  const all = `${cachedKinds.slice(0, -1).join(", ")} and ${cachedKinds.at(-1)}`;
  const why =
    other.kind === "GRPCRoute" ? ": gRPC calls are POSTs, and no header says what of them may be kept" : "";
  spec.fail(`${block} is for targets of kind ${all}, not ${other.kind}${why}`, block);
}

function readMethods(cache: FieldReader): string[] {
  const methods = cache.texts("methods").map((method) => method.toUpperCase());
  const other = methods.find((method) => method !== "GET" && method !== "HEAD");
  if (other !== undefined) cache.fail(`methods may hold GET and HEAD, got ${other}`, "methods");
  return methods.length === 0 ? ["GET", "HEAD"] : methods;
}

function readKey(cache: FieldReader): CacheSpec["key"] {
  const key = cache.object("key");
  if (key === undefined) return { headers: [], queryInclude: [], queryExclude: [] };
  const query = key.object("query");
  const queryInclude = query?.texts("include") ?? [];
  const queryExclude = query?.texts("exclude") ?? [];
  if (queryInclude.length > 0 && queryExclude.length > 0)
    key.fail("query takes include or exclude, not both", "query");
  return { headers: names(key, "headers"), queryInclude, queryExclude };
}

/** Header names, lower-case, each once. */
function names(reader: FieldReader, field: string): string[] {
  const all = reader.texts(field).map((name) => name.toLowerCase());
  if (all.length > listMax) reader.fail(`${field} may hold ${listMax} names`, field);
  return [...new Set(all)];
}

function bounded(reader: FieldReader, field: string, fallback: number, max: number): number {
  const ms = reader.duration(field, fallback);
  if (ms >= 0 && ms <= max) return ms;
  reader.fail(`${field} must be from 0 to ${max / 1000}s`, field);
  return fallback;
}

function bytes(
  reader: FieldReader,
  field: string,
  fallback: number,
  { min, max }: { min: number; max: number },
): number {
  const text = reader.text(field);
  if (text === "") return fallback;
  try {
    const size = parseQuantity(text);
    if (size >= min && size <= max) return size;
    reader.fail(`${field} must be from ${min} to ${max} bytes, got ${text}`, field);
  } catch (error) {
    reader.fail(`${field}: ${(error as Error).message}`, field);
  }
  return fallback;
}
