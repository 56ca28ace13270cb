import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { parseDuration } from "../kit/duration.ts";
import { nearest } from "../kit/nearest.ts";
import { UsageError } from "./flags.ts";
import { type ProbeOnPort, readProbe } from "./probe-fields.ts";

/** One app of a multi-app run file, with the common part merged in and paths made absolute. */
export interface RunFileApp {
  appId: string;
  folder: string;
  command: string[];
  env: Record<string, string>;
  /** daprd flags by name, as the file gave them. */
  flags: Map<string, string | number | boolean | string[]>;
  appLog: LogDestination;
  daprdLog: LogDestination;
  restart: "never" | "on-failure" | "always";
  dependsOn: string[];
  apiToken: string | undefined;
  /** Length of the lease under which one of several nodes runs it; absent: all do. */
  singletonLeaseMs?: number | undefined;
  probes: { startup?: ProbeOnPort; readiness?: ProbeOnPort; liveness?: ProbeOnPort };
}
export type LogDestination = "console" | "file" | "fileAndConsole";

export interface RunFile {
  path: string;
  apps: RunFileApp[];
}

/** Field of an app in the file → flag of the runtime (Dapr's multi-app run template). */
const flagFields: Record<string, string> = {
  appPort: "app-port",
  appProtocol: "app-protocol",
  appSSL: "app-ssl",
  appChannelAddress: "app-channel-address",
  appMaxConcurrency: "app-max-concurrency",
  daprHTTPPort: "dapr-http-port",
  daprGRPCPort: "dapr-grpc-port",
  daprInternalGRPCPort: "dapr-internal-grpc-port",
  daprListenAddresses: "dapr-listen-addresses",
  metricsPort: "metrics-port",
  enableProfiling: "enable-profiling",
  profilePort: "profile-port",
  logLevel: "log-level",
  enableApiLogging: "enable-api-logging",
  enableGrpcReflection: "enable-grpc-reflection",
  enableAppHealthCheck: "enable-app-health-check",
  appHealthCheckPath: "app-health-check-path",
  appHealthProbeInterval: "app-health-probe-interval",
  appHealthProbeTimeout: "app-health-probe-timeout",
  appHealthThreshold: "app-health-threshold",
  unixDomainSocket: "unix-domain-socket",
  placementHostAddress: "placement-host-address",
  schedulerHostAddress: "scheduler-host-address",
  maxBodySize: "max-body-size",
  readBufferSize: "read-buffer-size",
  daprHTTPMaxRequestSize: "dapr-http-max-request-size",
  daprHTTPReadBufferSize: "dapr-http-read-buffer-size",
  disableInitEndpoints: "disable-init-endpoints",
  allowedHosts: "allowed-hosts",
  apiMaxConcurrency: "api-max-concurrency",
  apiMaxQueued: "api-max-queued",
  version: "app-version",
  labels: "labels",
};
const otherFields = [
  "appID",
  "appDirPath",
  "command",
  "env",
  "resourcesPath",
  "resourcesPaths",
  "configFilePath",
  "appLogDestination",
  "daprdLogDestination",
  "restart",
  "dependsOn",
  "apiToken",
  "startupProbe",
  "readinessProbe",
  "livenessProbe",
  "singleton",
  "daprdInstallPath",
  "runtimePath",
  "containerImage",
  "containerImagePullPolicy",
  "createService",
];
const singletonLeaseDefaultMs = 15_000;
const singletonLeaseLeastMs = 500;
const conventionalNames = ["dapr.yaml", "mecha.yaml", "dapr.yml", "mecha.yml"];

/** Reads a run file, or the conventional one in a folder. Errors say file, line and column. */
export function readRunFile(path: string): RunFile {
  const file = findFile(path);
  const text = readFileSync(file, "utf8");
  const reader = new Reader(file, text);
  const apps = reader.apps();
  const seen = new Set<string>();
  for (const app of apps) {
    if (seen.has(app.appId))
      throw new UsageError(`${file}: two apps are called ${app.appId}`, "give each app its own appID");
    seen.add(app.appId);
  }
  for (const app of apps) {
    const missing = app.dependsOn.find((id) => !seen.has(id));
    if (missing !== undefined)
      throw new UsageError(`${file}: app ${app.appId} depends on ${missing}, which the file does not have`);
  }
  return { path: file, apps };
}

function findFile(path: string): string {
  const full = resolve(path);
  if (!existsSync(full)) throw new UsageError(`run file ${full} does not exist`);
  if (!statSync(full).isDirectory()) return full;
  const found = conventionalNames.map((name) => join(full, name)).find((each) => existsSync(each));
  if (found !== undefined) return found;
  throw new UsageError(`folder ${full} has no run file`, `looked for ${conventionalNames.join(", ")}`);
}

type Fields = Map<string, { value: unknown; node: Node | null }>;

class Reader {
  private readonly file: string;
  private readonly lines = new LineCounter();
  private readonly root: Fields;

  constructor(file: string, text: string) {
    this.file = file;
    const document = parseDocument(text, { lineCounter: this.lines });
    const first = document.errors[0];
    if (first !== undefined) throw this.error(first.pos[0], first.message.split("\n")[0] ?? "not valid YAML");
    this.root = this.fields(document.contents, ["version", "common", "apps"]);
  }

  apps(): RunFileApp[] {
    const common = this.fields(this.root.get("common")?.node ?? null, [
      ...Object.keys(flagFields),
      ...otherFields,
    ]);
    const apps = this.root.get("apps");
    if (apps === undefined || !Array.isArray(apps.value) || apps.value.length === 0) {
      throw this.error(0, "the file has no apps", "list them under `apps:`");
    }
    const nodes = (apps.node as { items?: Node[] } | null)?.items ?? [];
    return nodes.map((node) => this.app(node, common));
  }

  private app(node: Node, common: Fields): RunFileApp {
    const own = this.fields(node, [...Object.keys(flagFields), ...otherFields]);
    const pick = (name: string): unknown => own.get(name)?.value ?? common.get(name)?.value;
    const base = dirname(this.file);
    const folder = resolve(base, String(pick("appDirPath") ?? "."));
    const appId = String(own.get("appID")?.value ?? basename(folder));
    return {
      appId,
      folder,
      command: this.command(own),
      env: { ...textMap(common.get("env")?.value), ...textMap(own.get("env")?.value) },
      flags: this.flags(own, common, base, folder),
      appLog: this.destination(own, common, "appLogDestination"),
      daprdLog: this.destination(own, common, "daprdLogDestination"),
      restart: (pick("restart") as RunFileApp["restart"] | undefined) ?? "on-failure",
      dependsOn: textList(pick("dependsOn")),
      apiToken: pick("apiToken") === undefined ? undefined : String(pick("apiToken")),
      probes: this.probes(own, common),
      singletonLeaseMs: this.singleton(own.get("singleton") ?? common.get("singleton")),
    };
  }

  private probes(own: Fields, common: Fields): RunFileApp["probes"] {
    const probes: RunFileApp["probes"] = {};
    for (const which of ["startup", "readiness", "liveness"] as const) {
      const field = own.get(`${which}Probe`) ?? common.get(`${which}Probe`);
      if (field === undefined) continue;
      try {
        probes[which] = readProbe(field.value);
      } catch (error) {
        throw this.error(field.node?.range?.[0] ?? 0, `${which}Probe: ${(error as Error).message}`);
      }
    }
    return probes;
  }

  /** `true`, or `{leaseDuration: 5s}`. */
  private singleton(field: { value: unknown; node: Node | null } | undefined): number | undefined {
    if (field === undefined || field.value === false) return undefined;
    if (field.value === true) return singletonLeaseDefaultMs;
    const at = field.node?.range?.[0] ?? 0;
    if (!isMap(field.node)) throw this.error(at, "singleton is true, false or a mapping with leaseDuration");
    const text = String(this.fields(field.node, ["leaseDuration"]).get("leaseDuration")?.value ?? "15s");
    try {
      const leaseMs = parseDuration(text);
      if (leaseMs >= singletonLeaseLeastMs) return leaseMs;
    } catch (error) {
      throw this.error(at, `singleton.leaseDuration: ${(error as Error).message}`);
    }
    throw this.error(at, `singleton.leaseDuration has to be at least ${singletonLeaseLeastMs}ms`);
  }

  private command(own: Fields): string[] {
    const field = own.get("command");
    if (field === undefined) return [];
    if (Array.isArray(field.value)) return field.value.map(String);
    throw this.error(
      field.node?.range?.[0] ?? 0,
      "command has to be a list",
      'like command: ["node", "app.js"]',
    );
  }

  private flags(own: Fields, common: Fields, base: string, folder: string): RunFileApp["flags"] {
    const flags: RunFileApp["flags"] = new Map();
    for (const [field, flag] of Object.entries(flagFields)) {
      const value = own.get(field)?.value ?? common.get(field)?.value;
      if (value === undefined || value === null) continue;
      const isMapping = typeof value === "object" && !Array.isArray(value);
      flags.set(flag, isMapping ? pairsOf(value) : (value as string | number | boolean | string[]));
    }
    const resources = pathsOf(own, base) ?? conventional(folder, "resources") ?? pathsOf(common, base) ?? [];
    if (resources.length > 0) flags.set("resources-path", resources);
    const config = own.get("configFilePath")?.value ?? common.get("configFilePath")?.value;
    const configPath =
      config === undefined ? conventional(folder, "config.yaml")?.[0] : resolve(base, String(config));
    if (configPath !== undefined) flags.set("config", [configPath]);
    return flags;
  }

  private destination(own: Fields, common: Fields, name: string): LogDestination {
    const field = own.get(name) ?? common.get(name);
    if (field === undefined) return name === "appLogDestination" ? "fileAndConsole" : "file";
    const value = String(field.value);
    if (value === "console" || value === "file" || value === "fileAndConsole") return value;
    throw this.error(
      field.node?.range?.[0] ?? 0,
      `${name} is "${value}"`,
      "one of: console, file, fileAndConsole",
    );
  }

  /** The fields of a mapping; unknown ones are refused by name. */
  private fields(node: unknown, known: readonly string[]): Fields {
    const fields: Fields = new Map();
    if (node === null || node === undefined) return fields;
    if (!isMap(node)) throw this.error((node as Node).range?.[0] ?? 0, "expected a mapping here");
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : String(key);
      if (!known.includes(name)) {
        const near = nearest(name, known);
        const hint = near === undefined ? `known fields: ${known.join(", ")}` : `did you mean ${near}?`;
        throw this.error((key as Node).range?.[0] ?? 0, `unknown field "${name}"`, hint);
      }
      const child = value as Node | null;
      fields.set(name, { value: plain(child), node: child });
    }
    return fields;
  }

  private error(offset: number, message: string, hint?: string): UsageError {
    const { line, col } = this.lines.linePos(offset);
    return new UsageError(`${this.file}:${line}:${col}: ${message}`, hint);
  }
}

function plain(node: unknown): unknown {
  return isScalar(node) ? node.value : (node as { toJSON?: () => unknown } | null)?.toJSON?.();
}

function textMap(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, String(each)]));
}

/** `{tier: gold}` as the flag has it: `tier=gold`. */
function pairsOf(value: object): string[] {
  return Object.entries(textMap(value)).map(([name, each]) => `${name}=${each}`);
}

function textList(value: unknown): string[] {
  return Array.isArray(value)
    ? value.map(String)
    : value === undefined || value === null
      ? []
      : [String(value)];
}

function pathsOf(fields: Fields, base: string): string[] | undefined {
  const paths = [
    ...textList(fields.get("resourcesPath")?.value),
    ...textList(fields.get("resourcesPaths")?.value),
  ];
  return paths.length === 0 ? undefined : paths.map((path) => resolve(base, path));
}

/** Dapr's convention: `.dapr/resources` and `.dapr/config.yaml` beside the app. */
function conventional(folder: string, name: string): string[] | undefined {
  const path = join(folder, ".dapr", name);
  return existsSync(path) ? [path] : undefined;
}
