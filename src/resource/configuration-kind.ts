import { readAccessControl } from "./access-control.ts";
import type { FieldReader } from "./field-reader.ts";
import { readNameResolution } from "./name-resolution.ts";
import type { ApiRule, Configuration, PipelineHandler } from "./resource.ts";

/** What a Configuration resource keeps: its plain values, checked, to be merged with others. */
export interface ConfigurationSpec {
  values: Record<string, unknown>;
}

/** Dapr's features, and mecha's own SubtleCrypto, and whether they are on without a word. */
const featureDefaults: Readonly<Record<string, boolean>> = {
  ActorStateTTL: false,
  HotReload: true,
  SubtleCrypto: false,
  WorkflowsClusteredDeployment: false,
  WorkflowsRemoteActivityReminder: true,
  WorkflowHistorySigning: false,
};

const samplingRateDefault = 0.0001;
const otelTimeoutDefaultMs = 10_000;
const bucketsDefault = [
  1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650,
  800, 1000, 2000, 5000, 10000, 20000, 50000, 100000,
];

export function readConfigurationKind(spec: FieldReader): ConfigurationSpec {
  readConfiguration(spec);
  return { values: Object.fromEntries(spec.names.map((name) => [name, spec.raw(name)])) };
}

/** The whole Configuration with Dapr's defaults (dapr-api.md §14). */
export function readConfiguration(spec: FieldReader): Omit<Configuration, "names"> {
  const logging = spec.object("logging")?.object("apiLogging");
  const api = spec.object("api");
  const mtls = readMtls(spec.object("mtls"));
  const accessControl = readAccessControl(spec.object("accessControl"));
  const nameResolution = readNameResolution(spec.object("nameResolution"));
  reportMissing(spec);
  return {
    ...(accessControl && { accessControl }),
    ...(mtls && { mtls }),
    ...(nameResolution && { nameResolution }),
    tracing: readTracing(spec.object("tracing")),
    metrics: readMetrics(spec),
    secrets: { scopes: (spec.object("secrets")?.list("scopes") ?? []).map(readSecretScope) },
    api: {
      allowed: (api?.list("allowed") ?? []).map(readApiRule),
      denied: (api?.list("denied") ?? []).map(readApiRule),
    },
    componentsDeny: spec.object("components")?.texts("deny") ?? [],
    httpPipeline: readPipeline(spec.object("httpPipeline")),
    appHttpPipeline: readPipeline(spec.object("appHttpPipeline")),
    workflow: readWorkflow(spec.object("workflow")),
    features: readFeatures(spec),
    apiLogging: {
      enabled: logging?.flag("enabled", false) ?? false,
      obfuscateURLs: logging?.flag("obfuscateURLs", false) ?? false,
      omitHealthChecks: logging?.flag("omitHealthChecks", false) ?? false,
    },
  };
}

/** Fields that Dapr has and that have no effect here yet; listed in docs/reference/resources.md. */
function reportMissing(spec: FieldReader): void {
  spec.missing("wasm", (value) => fieldAt(value, "strictSandbox") !== true);
}

const mtlsModes = ["strict", "permissive", "off"] as const;

/** `mode` is mecha's: Dapr knows on and off. */
function readMtls(mtls: FieldReader | undefined): Configuration["mtls"] {
  if (mtls === undefined) return undefined;
  for (const name of ["sentryAddress", "controlPlaneTrustDomain"])
    mtls.missing(name, (value) => value === "");
  mtls.missing("tokenValidators", isEmpty);
  const enabled = mtls.flag("enabled", undefined);
  const mode = mtls.has("mode") ? mtls.oneOf("mode", mtlsModes, "strict") : undefined;
  if (enabled !== undefined && mode !== undefined && enabled !== (mode !== "off"))
    mtls.fail(`enabled is ${enabled}, and mode is ${mode}: leave one of them out`, "mode");
  return given({
    mode: mode ?? (enabled === undefined ? undefined : enabled ? ("strict" as const) : ("off" as const)),
    certificateLifeMs: atLeast(mtls, "workloadCertTTL", 1000),
    clockSkewMs: atLeast(mtls, "allowedClockSkew", 0),
  });
}

function atLeast(mtls: FieldReader, name: string, leastMs: number): number | undefined {
  const durationMs = mtls.duration(name, undefined);
  if (durationMs !== undefined && durationMs < leastMs)
    mtls.fail(`${name} is ${mtls.text(name)}: at least ${leastMs / 1000}s is needed`, name);
  return durationMs;
}

function readWorkflow(workflow: FieldReader | undefined): Configuration["workflow"] {
  const most = (name: string) => workflow?.number(name, 0, { min: 0 }) || undefined;
  const retention = workflow?.object("stateRetentionPolicy");
  const kept: NonNullable<Configuration["workflow"]["retentionMs"]> = {};
  for (const name of ["anyTerminal", "completed", "failed", "terminated"] as const)
    if (retention?.has(name)) kept[name] = retention.duration(name, 0);
  return {
    workflowsMax: most("maxConcurrentWorkflowInvocations"),
    activitiesMax: most("maxConcurrentActivityInvocations"),
    sharedWorkflowsMax: most("globalMaxConcurrentWorkflowInvocations"),
    sharedActivitiesMax: most("globalMaxConcurrentActivityInvocations"),
    workflowMax: readNamedLimits(workflow, "workflowConcurrencyLimits"),
    activityMax: readNamedLimits(workflow, "activityConcurrencyLimits"),
    retentionMs: retention === undefined ? undefined : kept,
  };
}

function readPipeline(pipeline: FieldReader | undefined): PipelineHandler[] {
  return (pipeline?.list("handlers") ?? []).map((handler) => {
    handler.missing("selector", isEmpty);
    const version = handler.text("version", "v1") || "v1";
    return { name: handler.requiredText("name"), type: handler.requiredText("type"), version };
  });
}

function readNamedLimits(workflow: FieldReader | undefined, field: string): Map<string, number> {
  const limits = new Map<string, number>();
  for (const limit of workflow?.list(field) ?? []) {
    const name = limit.requiredText("name");
    const most = limit.number("maxConcurrent", 0, { min: 0 });
    // As in Dapr, none is no limit.
    if (most > 0) limits.set(name, most);
  }
  return limits;
}

function readTracing(tracing: FieldReader | undefined): Configuration["tracing"] {
  const rate = tracing?.number("samplingRate", samplingRateDefault, { min: 0, max: 1 });
  const result: Configuration["tracing"] = {
    samplingRate: rate ?? samplingRateDefault,
    stdout: tracing?.flag("stdout", false) ?? false,
  };
  if (tracing?.has("samplingRate")) result.isRateGiven = true;
  const zipkin = tracing?.object("zipkin")?.text("endpointAddress") ?? "";
  if (zipkin !== "") result.zipkin = { endpointAddress: zipkin };
  const otel = tracing?.object("otel");
  const endpointAddress = otel?.text("endpointAddress") ?? "";
  if (otel) {
    const settings = {
      endpointAddress,
      isSecure: otel.flag("isSecure", true),
      protocol: otel.oneOf("protocol", ["http", "grpc"], "http"),
      headers: readHeaders(otel),
      timeoutMs: otel.duration("timeout", otelTimeoutDefaultMs),
    };
    if (endpointAddress !== "") result.otel = settings;
  }
  return result;
}

/** A list of name and value; a text `a=1,b=2` as in OTEL_EXPORTER_OTLP_HEADERS is taken too. */
function readHeaders(otel: FieldReader): Record<string, string> {
  if (typeof otel.raw("headers") === "string") {
    const parts = otel
      .text("headers")
      .split(",")
      .filter((part) => part.includes("="));
    return Object.fromEntries(
      parts.map((part) => [
        part.slice(0, part.indexOf("=")).trim(),
        part.slice(part.indexOf("=") + 1).trim(),
      ]),
    );
  }
  const headers = otel.list("headers").map((header) => {
    header.missing("secretKeyRef");
    header.missing("envRef");
    return [header.requiredText("name"), header.text("value")];
  });
  return Object.fromEntries(headers) as Record<string, string>;
}

/** `metric` is the older name; what `metrics` says goes first. */
function readMetrics(spec: FieldReader): Configuration["metrics"] {
  const older = readMetricsPart(spec.object("metric"));
  const newer = readMetricsPart(spec.object("metrics"));
  const both = { ...older, ...newer };
  return {
    enabled: both.enabled ?? true,
    recordErrorCodes: both.recordErrorCodes ?? false,
    http: { increasedCardinality: true, pathMatching: [], excludeVerbs: false, ...older.http, ...newer.http },
    latencyDistributionBuckets: both.latencyDistributionBuckets ?? bucketsDefault,
    rules: both.rules ?? [],
  };
}

type MetricsPart = Partial<Omit<Configuration["metrics"], "http">> & {
  http?: Partial<Configuration["metrics"]["http"]>;
};

function readMetricsPart(part: FieldReader | undefined): MetricsPart {
  if (!part) return {};
  const http = part.object("http");
  const buckets = part.numbers("latencyDistributionBuckets");
  return given({
    enabled: part.flag("enabled", undefined),
    recordErrorCodes: part.flag("recordErrorCodes", undefined),
    http: given({
      increasedCardinality: http?.flag("increasedCardinality", undefined),
      pathMatching: http?.has("pathMatching") ? http.texts("pathMatching") : undefined,
      excludeVerbs: http?.flag("excludeVerbs", undefined),
    }),
    latencyDistributionBuckets: buckets.length > 0 ? buckets : undefined,
    rules: part.has("rules") ? part.list("rules").map(readMetricRule) : undefined,
  });
}

function readMetricRule(rule: FieldReader): Configuration["metrics"]["rules"][number] {
  const labels = rule.list("labels").map((label) => ({
    name: label.requiredText("name"),
    regex: label.textMap("regex"),
  }));
  for (const [index, { regex }] of labels.entries()) {
    for (const [name, pattern] of Object.entries(regex)) {
      if (!isRegExp(pattern))
        rule.fail(`${pattern} is no regular expression`, "labels", index, "regex", name);
    }
  }
  return { name: rule.requiredText("name"), labels };
}

function readSecretScope(scope: FieldReader): Configuration["secrets"]["scopes"][number] {
  return {
    storeName: scope.requiredText("storeName"),
    defaultAccess: scope.oneOf("defaultAccess", ["allow", "deny"], "allow"),
    allowedSecrets: scope.texts("allowedSecrets"),
    deniedSecrets: scope.texts("deniedSecrets"),
  };
}

function readApiRule(rule: FieldReader): ApiRule {
  const version = rule.text("version", "v1.0");
  return {
    name: rule.requiredText("name"),
    version: canonicalVersion(version),
    protocol: rule.oneOf("protocol", ["http", "grpc"], "http"),
  };
}

/** `v1`, `v1alpha1` and `v1.0-alpha1` are the same to Dapr's lists. */
function canonicalVersion(version: string): string {
  const [, stage = ""] = /^v1(?:\.0)?-?((?:alpha|beta)\d+)?$/.exec(version) ?? [];
  if (stage !== "") return `v1.0-${stage}`;
  return version === "v1" ? "v1.0" : version;
}

function readFeatures(spec: FieldReader): Record<string, boolean> {
  const features: Record<string, boolean> = { ...featureDefaults };
  for (const [index, feature] of spec.list("features").entries()) {
    const name = feature.requiredText("name");
    features[name] = feature.flag("enabled", false);
    if (name !== "" && !(name in featureDefaults)) {
      spec.warn(`feature ${name} is not known and has no effect`, "features", index, "name");
    }
  }
  return features;
}

function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function fieldAt(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

function isRegExp(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}
