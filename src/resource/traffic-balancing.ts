import type { FieldReader } from "./field-reader.ts";
import type {
  ConnectionPoolSpec,
  ConsistentHashSpec,
  HealthCheckSpec,
  LoadBalancerSpec,
  LocalitySpec,
  OutlierDetectionSpec,
  TrafficPolicySpec,
  TrafficTarget,
} from "./traffic.ts";

export type BalancingSpecs = Pick<
  TrafficPolicySpec,
  "loadBalancer" | "connectionPool" | "outlierDetection" | "healthCheck"
>;

const blocks = ["loadBalancer", "connectionPool", "outlierDetection", "healthCheck"] as const;
const countMax = 2 ** 31 - 1;
/** As in Envoy: a table of Maglev is of prime size, and its memory is bounded. */
const maglevMax = 5_000_011;
const ringMax = 1_000_000;
/** Checks come to every instance from every caller. */
const checkIntervalMinMs = 100;

/** How one instance of several is chosen: the blocks of Istio's DestinationRule, and health checks as Envoy's. */
export function readBalancing(spec: FieldReader, targets: readonly TrafficTarget[]): BalancingSpecs {
  const other = targets.find(({ kind }) => kind !== "App" && kind !== "AppVersion");
  if (other !== undefined) {
    for (const block of blocks) {
      if (spec.has(block))
        spec.fail(`${block} needs a target of kind App or AppVersion, not ${other.kind}`, block);
    }
  }
  const specs: BalancingSpecs = {
    loadBalancer: readLoadBalancer(spec.object("loadBalancer")),
    connectionPool: readPool(spec.object("connectionPool")),
    outlierDetection: readOutliers(spec.object("outlierDetection")),
    healthCheck: readHealthCheck(spec.object("healthCheck")),
  };
  const isWatched = specs.outlierDetection !== undefined || specs.healthCheck !== undefined;
  if (specs.loadBalancer?.locality !== undefined && !isWatched) {
    const why =
      "has no effect without outlierDetection or healthCheck: nothing would leave a locality that fails";
    spec.warn(`localityLbSetting ${why}`, "loadBalancer", "localityLbSetting");
  }
  return specs;
}

function readLoadBalancer(block: FieldReader | undefined): LoadBalancerSpec | undefined {
  if (block === undefined) return undefined;
  const algorithms = ["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PEAK_EWMA"] as const;
  const consistentHash = readHash(block.object("consistentHash"));
  if (consistentHash !== undefined && block.has("simple"))
    block.fail("simple and consistentHash exclude each other", "simple");
  const warmup = readWarmup(block.object("warmup"));
  if (consistentHash !== undefined && warmup !== undefined)
    block.fail("warmup has no effect with consistentHash: keys are not moved slowly", "warmup");
  return {
    simple: block.oneOf("simple", algorithms, "LEAST_REQUEST"),
    consistentHash,
    warmup,
    locality: readLocality(block.object("localityLbSetting")),
    panicThreshold: percent(block, "panicThreshold", 50),
  };
}

function readHash(hash: FieldReader | undefined): ConsistentHashSpec | undefined {
  if (hash === undefined) return undefined;
  const boundedLoadPercent = count(hash, "boundedLoadPercent", { or: 0 });
  if (boundedLoadPercent > 0 && boundedLoadPercent < 100)
    hash.fail("boundedLoadPercent must be 0 or at least 100", "boundedLoadPercent");
  return { key: readHashKey(hash), table: readHashTable(hash), boundedLoadPercent };
}

function readHashKey(hash: FieldReader): ConsistentHashSpec["key"] {
  const keys: ConsistentHashSpec["key"][] = [];
  const header = hash.text("httpHeaderName");
  if (header !== "") keys.push({ kind: "header", name: header.toLowerCase() });
  const cookie = hash.object("httpCookie");
  if (cookie !== undefined) {
    const name = cookie.requiredText("name");
    if (name !== "" && !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) cookie.fail("name is no cookie name", "name");
    const path = cookie.text("path");
    if (/[;\p{Cc}]/u.test(path)) cookie.fail("path may not hold semicolons and control characters", "path");
    const ttlMs = cookie.has("ttl") ? span(cookie, "ttl", { or: 0 }) : undefined;
    keys.push({ kind: "cookie", name, path, ttlMs });
  }
  const query = hash.text("httpQueryParameterName");
  if (query !== "") keys.push({ kind: "query", name: query });
  if (hash.flag("useSourceIp", false)) keys.push({ kind: "sourceIp" });
  if (keys.length !== 1) {
    hash.fail(
      "consistentHash needs exactly one of httpHeaderName, httpCookie, httpQueryParameterName and useSourceIp",
    );
  }
  return keys[0] ?? { kind: "sourceIp" };
}

function readHashTable(hash: FieldReader): ConsistentHashSpec["table"] {
  const ring = hash.object("ringHash");
  const maglev = hash.object("maglev");
  if (ring !== undefined && maglev !== undefined)
    hash.fail("ringHash and maglev exclude each other", "maglev");
  if (maglev === undefined) {
    return {
      kind: "ring",
      minimumRingSize: ring ? count(ring, "minimumRingSize", { or: 1024, min: 1, max: ringMax }) : 1024,
    };
  }
  const tableSize = count(maglev, "tableSize", { or: 65_537, min: 2, max: maglevMax });
  if (!isPrime(tableSize)) maglev.fail(`tableSize must be a prime number, got ${tableSize}`, "tableSize");
  return { kind: "maglev", tableSize };
}

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return value > 1;
}

function readWarmup(warmup: FieldReader | undefined): LoadBalancerSpec["warmup"] {
  if (warmup === undefined) return undefined;
  if (!warmup.has("duration")) warmup.fail("duration is missing", "duration");
  return {
    durationMs: span(warmup, "duration", { or: 1, min: 1 }),
    aggression: warmup.number("aggression", 1, { min: 0.01, max: 100 }),
    minimumPercent: percent(warmup, "minimumPercent", 10),
  };
}

function readLocality(setting: FieldReader | undefined): LocalitySpec | undefined {
  if (setting === undefined) return undefined;
  const isEnabled = setting.flag("enabled", true);
  const distribute = setting.list("distribute").map((entry) => ({
    from: entry.requiredText("from"),
    to: readShares(entry),
  }));
  const failover = setting.list("failover").map((entry) => ({
    from: entry.requiredText("from"),
    to: entry.requiredText("to"),
  }));
  const failoverPriority = setting.texts("failoverPriority");
  const given = [distribute, failover, failoverPriority].filter(({ length }) => length > 0);
  if (given.length > 1)
    setting.fail("localityLbSetting takes one of distribute, failover and failoverPriority");
  return isEnabled ? { distribute, failover, failoverPriority } : undefined;
}

function readShares(entry: FieldReader): Record<string, number> {
  const to = entry.object("to");
  const shares = Object.fromEntries((to?.names ?? []).map((name) => [name, to ? percent(to, name, 0) : 0]));
  const sum = Object.values(shares).reduce((total, share) => total + share, 0);
  if (sum !== 100) entry.fail(`the shares of to must come to 100, got ${sum}`, "to");
  return shares;
}

function readPool(pool: FieldReader | undefined): ConnectionPoolSpec | undefined {
  if (pool === undefined) return undefined;
  const tcp = pool.object("tcp");
  const http = pool.object("http");
  const of = (block: FieldReader | undefined, name: string, bounds: Bounds): number =>
    block === undefined ? bounds.or : count(block, name, bounds);
  return {
    maxConnections: of(tcp, "maxConnections", { or: 1024, min: 1 }),
    connectTimeoutMs: tcp === undefined ? 10_000 : span(tcp, "connectTimeout", { or: 10_000, min: 1 }),
    idleTimeoutMs: tcp?.has("idleTimeout") ? span(tcp, "idleTimeout", { or: 3_600_000, min: 1 }) : undefined,
    http1MaxPendingRequests: of(http, "http1MaxPendingRequests", { or: 1024, min: 0 }),
    http2MaxRequests: of(http, "http2MaxRequests", { or: 1024, min: 1 }),
    maxRequestsPerConnection: of(http, "maxRequestsPerConnection", { or: 0, min: 0 }),
    maxRetries: of(http, "maxRetries", { or: 3, min: 0 }),
  };
}

function readOutliers(block: FieldReader | undefined): OutlierDetectionSpec | undefined {
  if (block === undefined) return undefined;
  return {
    consecutive5xxErrors: count(block, "consecutive5xxErrors", { or: 5 }),
    consecutiveGatewayErrors: count(block, "consecutiveGatewayErrors", { or: 0 }),
    intervalMs: span(block, "interval", { or: 10_000, min: 1 }),
    baseEjectionTimeMs: span(block, "baseEjectionTime", { or: 30_000, min: 1 }),
    maxEjectionPercent: percent(block, "maxEjectionPercent", 10),
    minHealthPercent: percent(block, "minHealthPercent", 0),
    splitExternalLocalOriginErrors: block.flag("splitExternalLocalOriginErrors", false),
    consecutiveLocalOriginFailures: count(block, "consecutiveLocalOriginFailures", { or: 5 }),
    httpErrorCodes: block.texts("httpErrorCodes").flatMap((text, index) => readCodes(block, text, index)),
    probe: block.oneOf("probe", ["single", "none"], "none"),
  };
}

function readCodes(block: FieldReader, text: string, index: number): { from: number; to: number }[] {
  const [, first, last = first] = /^\s*(\d{3})(?:\s*-\s*(\d{3}))?\s*$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (from >= 100 && to <= 599 && from <= to) return [{ from, to }];
  block.fail(
    `httpErrorCodes must be like 429 or 500-504, got ${JSON.stringify(text)}`,
    "httpErrorCodes",
    index,
  );
  return [];
}

function readHealthCheck(block: FieldReader | undefined): HealthCheckSpec | undefined {
  if (block === undefined) return undefined;
  const [http, grpc, tcp] = (["http", "grpc", "tcp"] as const).map((name) => block.object(name));
  if ([http, grpc, tcp].filter((one) => one !== undefined).length !== 1)
    block.fail("healthCheck needs exactly one of http, grpc and tcp");
  const path = http?.text("path", "/healthz") ?? "";
  if (http !== undefined && !path.startsWith("/")) http.fail("path must begin with a slash", "path");
  return {
    kind: http ? "http" : grpc ? "grpc" : "tcp",
    path,
    service: grpc?.text("service") ?? "",
    intervalMs: span(block, "interval", { or: 10_000, min: checkIntervalMinMs }),
    timeoutMs: span(block, "timeout", { or: 1_000, min: 1 }),
    unhealthyThreshold: count(block, "unhealthyThreshold", { or: 3, min: 1 }),
    healthyThreshold: count(block, "healthyThreshold", { or: 1, min: 1 }),
  };
}

interface Bounds {
  or: number;
  min?: number;
  max?: number;
}

function count(reader: FieldReader, name: string, { or, min = 0, max = countMax }: Bounds): number {
  const amount = reader.number(name, or, { min, max });
  if (!Number.isInteger(amount)) reader.fail(`${name} must be a whole number, got ${amount}`, name);
  return amount;
}

function percent(reader: FieldReader, name: string, fallback: number): number {
  return reader.number(name, fallback, { min: 0, max: 100 });
}

/** Milliseconds. */
function span(reader: FieldReader, name: string, { or, min = 0 }: Bounds): number {
  const ms = reader.duration(name, or);
  if (ms >= min) return ms;
  reader.fail(`${name} must be at least ${min}ms, got ${ms}ms`, name);
  return or;
}
