import type { RuntimeOptions } from "../host/options.ts";
import { runtimeDefaults } from "../host/options.ts";
import { parseDuration } from "../kit/duration.ts";
import { parseQuantity } from "../kit/quantity.ts";
import { type LogLevel, logLevels } from "../telemetry/log.ts";
import { type Flag, type FlagValues, UsageError } from "./flags.ts";

const protocols = ["http", "grpc", "https", "grpcs", "h2c"] as const;

/** The flags that daprd and `dapr run` share (dapr-api.md §1.1). */
export const runtimeFlags: readonly Flag[] = [
  { name: "app-id", short: "a", type: "text", description: "identity of the app; no dots" },
  {
    name: "app-port",
    short: "p",
    type: "number",
    default: 0,
    takesAuto: true,
    description: "port the app listens on; 0: no app channel; auto: chosen and given to the app as APP_PORT",
  },
  {
    name: "app-protocol",
    short: "P",
    type: "text",
    default: "http",
    choices: protocols,
    description: "how the app speaks",
  },
  {
    name: "app-ssl",
    type: "boolean",
    hidden: true,
    description: "deprecated: use --app-protocol https or grpcs",
  },
  { name: "app-channel-address", type: "text", default: "127.0.0.1", description: "host of the app" },
  {
    name: "app-max-concurrency",
    type: "number",
    default: -1,
    description: "calls into the app at once; -1: unlimited",
  },
  { name: "dapr-http-port", short: "H", type: "number", default: 3500, description: "port of the HTTP API" },
  { name: "dapr-grpc-port", short: "G", type: "number", default: 50001, description: "port of the gRPC API" },
  {
    name: "dapr-internal-grpc-port",
    short: "I",
    type: "number",
    default: 0,
    description: "port that other runtimes call; 0: derived from the app id",
  },
  {
    name: "dapr-internal-grpc-listen-address",
    type: "text",
    default: "",
    description: "bind address of the internal port",
  },
  {
    name: "dapr-listen-addresses",
    type: "list",
    default: [],
    description: "bind addresses of the HTTP and gRPC API",
  },
  {
    name: "dapr-public-port",
    type: "number",
    default: 0,
    description: "extra HTTP port with health and metadata only",
  },
  {
    name: "dapr-public-listen-address",
    type: "text",
    default: "",
    description: "bind address of the public port",
  },
  {
    name: "max-body-size",
    short: "B",
    type: "text",
    default: "4Mi",
    description: "largest body or gRPC message, as a quantity",
  },
  {
    name: "dapr-http-max-request-size",
    type: "number",
    hidden: true,
    default: 4,
    description: "deprecated: --max-body-size, in MB",
  },
  {
    name: "read-buffer-size",
    type: "text",
    default: "4Ki",
    description: "largest header block, as a quantity",
  },
  {
    name: "dapr-http-read-buffer-size",
    type: "number",
    hidden: true,
    default: 4,
    description: "deprecated: --read-buffer-size, in KB",
  },
  {
    name: "unix-domain-socket",
    short: "u",
    type: "text",
    default: "",
    description: "directory of the API's Unix sockets, instead of ports",
  },
  { name: "enable-app-health-check", type: "boolean", default: false, description: "probe the app's health" },
  {
    name: "app-health-check-path",
    type: "text",
    default: "/healthz",
    description: "path of the health probe",
  },
  { name: "app-health-probe-interval", type: "number", default: 5, description: "seconds between probes" },
  {
    name: "app-health-probe-timeout",
    type: "number",
    default: 500,
    description: "milliseconds a probe may take",
  },
  {
    name: "app-health-threshold",
    type: "number",
    default: 3,
    description: "failures in a row that make the app unhealthy",
  },
  {
    name: "app-binding-options-timeout",
    type: "text",
    default: "3s",
    description: "time limit of the discovery of input bindings",
  },
  {
    name: "disable-init-endpoints",
    type: "list",
    default: [],
    description: "skip GET /dapr/config and/or /dapr/subscribe: config, subscribe",
  },
  {
    name: "resources-path",
    short: "d",
    type: "list",
    default: [],
    description: "folders with resource YAML",
  },
  {
    name: "components-path",
    type: "list",
    hidden: true,
    default: [],
    description: "deprecated: --resources-path",
  },
  {
    name: "config",
    short: "c",
    type: "list",
    default: [],
    description: "Configuration YAML files, merged in order",
  },
  {
    name: "placement-host-address",
    type: "list",
    default: [],
    description: "names the cluster of actor hosts",
  },
  {
    name: "scheduler-host-address",
    type: "list",
    default: [],
    description: "names the cluster of schedulers",
  },
  { name: "scheduler-job-streams", type: "number", default: 3, description: "accepted for compatibility" },
  {
    name: "actors-disseminate-timeout",
    type: "text",
    default: "30s",
    description: "accepted for compatibility",
  },
  { name: "actors-service", type: "text", default: "", description: "accepted for compatibility" },
  { name: "reminders-service", type: "text", default: "", description: "accepted for compatibility" },
  {
    name: "allowed-origins",
    type: "text",
    default: "",
    description: "web pages that may call the API, comma separated; * for all",
  },
  {
    name: "allowed-hosts",
    type: "list",
    default: [],
    placeholder: "NAME",
    description: "names under which the API without token is reached; *.domain for many, * for all",
  },
  {
    name: "dapr-graceful-shutdown-seconds",
    type: "number",
    default: 5,
    description: "time for a graceful stop",
  },
  {
    name: "dapr-block-shutdown-duration",
    type: "text",
    default: "",
    description: "keep outbound APIs up this long after a stop signal",
  },
  {
    name: "hot-reload-reconcile-interval",
    type: "text",
    default: "60s",
    description: "time between full comparisons of the resource folders",
  },
  {
    name: "enable-api-logging",
    type: "boolean",
    description: "log each API call; overrides the Configuration",
  },
  {
    name: "log-level",
    type: "text",
    default: "info",
    choices: logLevels,
    description: "lowest level that is printed",
  },
  { name: "log-as-json", type: "boolean", default: false, description: "log lines as JSON" },
  {
    name: "enable-grpc-reflection",
    type: "boolean",
    default: false,
    description: "serve reflection on the gRPC port, for grpcurl and the like",
  },
  { name: "enable-metrics", type: "boolean", default: true, description: "serve Prometheus metrics" },
  { name: "metrics-port", short: "M", type: "number", default: 9090, description: "port of the metrics" },
  {
    name: "metrics-listen-address",
    type: "text",
    default: "0.0.0.0",
    description: "bind address of the metrics",
  },
  {
    name: "enable-mtls",
    type: "boolean",
    description:
      "mTLS between runtimes; overrides the Configuration (default: on when machines share the store)",
  },
  {
    name: "tls-ca-file",
    type: "text",
    default: "",
    description: "trust bundle of an authority of your own, PEM (or DAPR_TRUST_ANCHORS as text)",
  },
  {
    name: "tls-cert-file",
    type: "text",
    default: "",
    description: "this app's certificate of that authority, with intermediates, PEM (or DAPR_CERT_CHAIN)",
  },
  { name: "tls-key-file", type: "text", default: "", description: "its key, PEM (or DAPR_CERT_KEY)" },
  { name: "enable-profiling", type: "boolean", default: false, description: "accepted for compatibility" },
  { name: "profile-port", type: "number", default: 7777, description: "accepted for compatibility" },
];

/** What mecha adds: the share of one app in a runtime that serves many, and what its instances are told apart by. */
export const quotaFlags: readonly Flag[] = [
  {
    name: "app-version",
    type: "text",
    default: "",
    description: "version of the app that this instance runs: the label `version`, for routes",
  },
  {
    name: "labels",
    type: "list",
    default: [],
    description: "labels of this instance: name=value, comma separated",
  },
  {
    name: "peer-token-file",
    type: "text",
    default: "",
    description:
      "secret that runtimes share whose spec.nameResolution is not the registry (or MECHA_PEER_TOKEN)",
  },
  {
    name: "api-max-concurrency",
    type: "number",
    default: 0,
    description: "API calls of the app at once; more wait; 0: unlimited",
  },
  {
    name: "api-max-queued",
    type: "number",
    default: 1000,
    description: "API calls that may wait for a place; more are refused",
  },
];

/** Where default components, actors, jobs and workflows keep what they keep. */
export const storeFlag: Flag = {
  name: "store",
  type: "text",
  default: "",
  placeholder: "ADDRESS",
  description:
    "postgresql://user:password@host:port/database, shared by machines (default: $MECHA_STORE or embedded)",
};

/** Builds one app's options from its flags and environment. */
export function runtimeOptions(values: FlagValues, env: Record<string, string | undefined>): RuntimeOptions {
  const isSsl = values.boolean("app-ssl");
  const protocol = values.text("app-protocol") as RuntimeOptions["appProtocol"];
  return {
    ...runtimeDefaults,
    appId: values.text("app-id"),
    namespace: env.NAMESPACE ?? "",
    appPort: port(values, "app-port"),
    appProtocol: isSsl && protocol === "http" ? "https" : isSsl && protocol === "grpc" ? "grpcs" : protocol,
    appChannelAddress: values.text("app-channel-address") || "127.0.0.1",
    appMaxConcurrency: values.number("app-max-concurrency"),
    appHealth: appHealth(values),
    ...listening(values),
    ...limits(values),
    disableInitEndpoints: values.list("disable-init-endpoints"),
    resourcesPaths: [...values.list("resources-path"), ...values.list("components-path")],
    configPaths: values.list("config"),
    placementHostAddresses: values.list("placement-host-address"),
    schedulerHostAddresses: values.list("scheduler-host-address"),
    allowedOrigins: values.text("allowed-origins"),
    allowedHosts: values.list("allowed-hosts"),
    gracefulShutdownSeconds: values.number("dapr-graceful-shutdown-seconds"),
    blockShutdownMs: optionalDuration(values, "dapr-block-shutdown-duration"),
    reconcileIntervalMs: optionalDuration(values, "hot-reload-reconcile-interval") ?? 60_000,
    enableApiLogging: values.isGiven("enable-api-logging") ? values.boolean("enable-api-logging") : undefined,
    logLevel: values.text("log-level") as LogLevel,
    logAsJson: values.boolean("log-as-json"),
    enableGrpcReflection: values.boolean("enable-grpc-reflection"),
    enableMetrics: values.boolean("enable-metrics"),
    metricsPort: port(values, "metrics-port"),
    metricsListenAddress: values.text("metrics-listen-address"),
    apiLimit: apiLimit(values),
    labels: labels(values.text("app-version"), values.list("labels")),
    enableMtls: values.isGiven("enable-mtls") ? values.boolean("enable-mtls") : undefined,
    certificates: certificates(values, env),
    ...tokens(env),
    ...peerTokens(values, env),
  };
}

/** All three or none: an authority without a certificate of it would be of no use. */
function certificates(
  values: FlagValues,
  env: Record<string, string | undefined>,
): RuntimeOptions["certificates"] {
  const one = (flag: string, variable: string) => {
    const file = values.text(flag);
    const text = env[variable] ?? "";
    if (file !== "") return { file };
    return text === "" ? undefined : { text };
  };
  const ca = one("tls-ca-file", "DAPR_TRUST_ANCHORS");
  const cert = one("tls-cert-file", "DAPR_CERT_CHAIN");
  const key = one("tls-key-file", "DAPR_CERT_KEY");
  if (ca && cert && key) return { ca, cert, key };
  if (!ca && !cert && !key) return undefined;
  throw new UsageError(
    "a trust bundle, a certificate and its key belong together",
    "give --tls-ca-file, --tls-cert-file and --tls-key-file",
  );
}

function peerTokens(values: FlagValues, env: Record<string, string | undefined>) {
  const peerTokenFile = values.text("peer-token-file") || env.MECHA_PEER_TOKEN_FILE || undefined;
  const peerToken = env.MECHA_PEER_TOKEN || undefined;
  if (peerToken && peerTokenFile)
    throw new UsageError("MECHA_PEER_TOKEN and a file of peer tokens are both set", "leave one of them out");
  return { peerToken, peerTokenFile };
}

function tokens(env: Record<string, string | undefined>) {
  const { DAPR_API_TOKEN: apiToken, APP_API_TOKEN: appToken } = env;
  const { DAPR_API_TOKEN_FILE: apiTokenFile, APP_API_TOKEN_FILE: appTokenFile } = env;
  for (const [name, token, file] of [
    ["DAPR_API_TOKEN", apiToken, apiTokenFile],
    ["APP_API_TOKEN", appToken, appTokenFile],
  ]) {
    if (token && file) throw new UsageError(`${name} and ${name}_FILE are both set`, "leave one of them out");
  }
  return {
    apiToken: apiToken || undefined,
    appToken: appToken || undefined,
    apiTokenFile: apiTokenFile || undefined,
    appTokenFile: appTokenFile || undefined,
  };
}

function listening(values: FlagValues) {
  return {
    httpPort: port(values, "dapr-http-port"),
    grpcPort: port(values, "dapr-grpc-port"),
    internalGrpcPort: port(values, "dapr-internal-grpc-port"),
    internalGrpcListenAddress: values.text("dapr-internal-grpc-listen-address"),
    listenAddresses: values.list("dapr-listen-addresses"),
    publicPort: values.isGiven("dapr-public-port") ? port(values, "dapr-public-port") : undefined,
    publicListenAddress: values.text("dapr-public-listen-address"),
    unixDomainSocket: values.text("unix-domain-socket"),
  };
}

function limits(values: FlagValues) {
  const isOldBody = values.isGiven("dapr-http-max-request-size") && !values.isGiven("max-body-size");
  const isOldBuffer = values.isGiven("dapr-http-read-buffer-size") && !values.isGiven("read-buffer-size");
  return {
    maxBodyBytes: isOldBody
      ? values.number("dapr-http-max-request-size") * 2 ** 20
      : quantity(values, "max-body-size"),
    readBufferBytes: isOldBuffer
      ? values.number("dapr-http-read-buffer-size") << 10
      : quantity(values, "read-buffer-size"),
  };
}

function apiLimit(values: FlagValues): RuntimeOptions["apiLimit"] {
  const callsMax = values.number("api-max-concurrency");
  return callsMax > 0 ? { callsMax, queueMax: values.number("api-max-queued") } : undefined;
}

function labels(version: string, pairs: readonly string[]): Record<string, string> {
  const all: Record<string, string> = version === "" ? {} : { version };
  for (const pair of pairs) {
    const [, name, value] = /^([\w./-]+)=([\w.-]*)$/.exec(pair) ?? [];
    if (name === undefined || value === undefined) {
      throw new UsageError(
        `invalid argument "${pair}" for --labels: not name=value`,
        "like --labels tier=gold,zone=a",
      );
    }
    all[name] = value;
  }
  return all;
}

function appHealth(values: FlagValues): RuntimeOptions["appHealth"] {
  if (!values.boolean("enable-app-health-check")) return undefined;
  return {
    path: values.text("app-health-check-path"),
    probeIntervalMs: values.number("app-health-probe-interval") * 1000,
    probeTimeoutMs: values.number("app-health-probe-timeout"),
    threshold: values.number("app-health-threshold"),
  };
}

function port(values: FlagValues, name: string): number {
  const value = values.number(name);
  if (Number.isInteger(value) && value >= 0 && value <= 65535) return value;
  // `auto`, for the app's port: chosen when the app is started.
  if (value === -1) return name === "app-port" ? -1 : 0;
  throw new UsageError(
    `invalid argument "${value}" for --${name}: not a port`,
    "use 1 to 65535, or 0 to have one chosen",
  );
}

function quantity(values: FlagValues, name: string): number {
  try {
    return parseQuantity(values.text(name));
  } catch (error) {
    throw new UsageError(
      `invalid argument "${values.text(name)}" for --${name}: ${(error as Error).message}`,
      "like 4Mi, 512Ki, 10M",
    );
  }
}

function optionalDuration(values: FlagValues, name: string): number | undefined {
  const text = values.text(name);
  if (text === "") return undefined;
  try {
    return parseDuration(text);
  } catch (error) {
    throw new UsageError(
      `invalid argument "${text}" for --${name}: ${(error as Error).message}`,
      "like 500ms, 10s, 1m30s",
    );
  }
}
