import type { AppScope, AppSettings, HealthTargets } from "../../src/api/call.ts";
import type { ComponentKind, ComponentKinds } from "../../src/component/component.ts";
import type { ComponentChange, Components, LoadedComponent } from "../../src/component/components.ts";
import memoryPubSub from "../../src/components/pubsub/in-memory.ts";
import memoryState from "../../src/components/state/in-memory.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { disabledActors } from "../../src/engine/actors/actors.ts";
import { createJobs } from "../../src/engine/jobs/jobs.ts";
import { createPubSub } from "../../src/engine/pubsub/pubsub.ts";
import type { Schedules } from "../../src/engine/schedules/schedules.ts";
import type { Invoker } from "../../src/peer/invoker.ts";
import { UsePolicies } from "../../src/policy/use/use-policies.ts";
import type { Configuration } from "../../src/resource/resource.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { Log, LogFields, Telemetry } from "../../src/telemetry/telemetry.ts";
import { createTracer } from "../../src/telemetry/tracer.ts";

export const principal = { appId: "shop", namespace: "default" };

/** Nothing stands round anything. */
export function idlePolicies(telemetry: Telemetry): UsePolicies {
  const { clock, random } = realEdges();
  return new UsePolicies({ principal, telemetry, clock, random });
}

export interface LogLine {
  level: string;
  message: string;
  fields: LogFields;
}

export interface TestTelemetry extends Telemetry {
  lines: LogLine[];
}

export function testTelemetry(): TestTelemetry {
  const lines: LogLine[] = [];
  const at = (level: string) => (fields: LogFields, message: string) => {
    lines.push({ level, message, fields });
  };
  const log: Log = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    fatal: at("fatal"),
    scope: () => log,
  };
  return { lines, log, metrics: createMetrics(), tracer: createTracer(0, undefined) };
}

export interface TestComponents extends Components {
  put<K extends ComponentKind>(
    kind: K,
    name: string,
    instance: ComponentKinds[K],
    properties?: Record<string, string>,
  ): void;
  remove(kind: ComponentKind, name: string): void;
}

export function testComponents(): TestComponents {
  const loaded: LoadedComponent<ComponentKind>[] = [];
  const listeners = new Set<(change: ComponentChange) => void>();
  const find = (kind: string, name: string) =>
    loaded.find((each) => each.kind === kind && each.name === name);
  function drop(kind: string, name: string): boolean {
    const index = loaded.findIndex((each) => each.kind === kind && each.name === name);
    if (index >= 0) loaded.splice(index, 1);
    return index >= 0;
  }
  function tell(change: ComponentChange): void {
    for (const listener of [...listeners]) listener(change);
  }
  return {
    put(kind, name, instance, properties = {}) {
      const action = drop(kind, name) ? "replaced" : "added";
      loaded.push({
        kind,
        name,
        instance,
        type: `${kind}.test`,
        version: "v1",
        properties: new Map(Object.entries(properties).map(([key, value]) => [key.toLowerCase(), value])),
        capabilities: kind === "state" ? ["ETAG", "TRANSACTIONAL", "ACTOR"] : [],
        isNamespaceScoped: false,
      });
      tell({ kind, name, action });
    },
    remove(kind, name) {
      drop(kind, name);
      tell({ kind, name, action: "removed" });
    },
    find: find as Components["find"],
    list: ((kind: string) => loaded.filter((each) => each.kind === kind)) as Components["list"],
    all: () => [...loaded],
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: async () => {},
  };
}

export function testConfiguration(changes: Partial<Configuration> = {}): Configuration {
  return {
    tracing: { samplingRate: 0, stdout: false },
    metrics: {
      enabled: true,
      recordErrorCodes: true,
      http: { increasedCardinality: true, pathMatching: [], excludeVerbs: false },
      latencyDistributionBuckets: [],
      rules: [],
    },
    secrets: { scopes: [] },
    api: { allowed: [], denied: [] },
    componentsDeny: [],
    httpPipeline: [],
    appHttpPipeline: [],
    workflow: {
      workflowsMax: undefined,
      activitiesMax: undefined,
      sharedWorkflowsMax: undefined,
      sharedActivitiesMax: undefined,
      workflowMax: new Map(),
      activityMax: new Map(),
      retentionMs: undefined,
    },
    features: {},
    apiLogging: { enabled: false, obfuscateURLs: false, omitHealthChecks: true },
    names: [],
    ...changes,
  };
}

export function testSettings(changes: Partial<AppSettings> = {}): AppSettings {
  return {
    appPort: 0,
    appProtocol: "http",
    appChannelAddress: "127.0.0.1",
    appMaxConcurrency: -1,
    appHealth: undefined,
    maxBodyBytes: 4 << 20,
    readBufferBytes: 4 << 10,
    apiTokens: [],
    appToken: undefined,
    allowedOrigins: "",
    isStrict: false,
    runtimeVersion: "1.18.0-test",
    ...changes,
  };
}

export function testHealth(): HealthTargets & { targets: Map<string, boolean>; isOutbound: boolean } {
  const targets = new Map<string, boolean>();
  return {
    targets,
    isOutbound: true,
    set: (name, isReady) => void targets.set(name, isReady),
    unready: () => [...targets].flatMap(([name, isReady]) => (isReady ? [] : [name])),
    isOutboundReady() {
      return this.isOutbound;
    },
    setOutboundReady(isReady) {
      this.isOutbound = isReady;
    },
  };
}

const noInvoker: Invoker = {
  invokeHttp: () => Promise.reject(new Error("no invoker in this test")),
  invokeUnary: () => Promise.reject(new Error("no invoker in this test")),
  upstreams: () => [],
  refsNotPermitted: () => [],
  routeHttp: () => Promise.reject(new Error("no gateway in this test")),
  routeGrpc: () => ({ kind: "proxy", connect: () => Promise.reject(new Error("no gateway in this test")) }),
  proxy: () => ({ kind: "proxy", connect: () => Promise.reject(new Error("no invoker in this test")) }),
  close: async () => {},
};

export interface TestScope extends AppScope {
  components: TestComponents;
  telemetry: TestTelemetry;
  health: ReturnType<typeof testHealth>;
  shutdowns: { force: boolean }[];
}

/** An app's scope on in-memory components, with the state store `store` and the pub/sub `pubsub`. */
export async function testScope(changes: Partial<Omit<AppScope, "components">> = {}): Promise<TestScope> {
  const components = testComponents();
  const telemetry = testTelemetry();
  const host = { ...principal, log: telemetry.log, edges: realEdges(), env: {} };
  components.put("state", "store", await memoryState.open({}, { ...host, name: "store" }));
  components.put("pubsub", "pubsub", await memoryPubSub.open({}, { ...host, name: "pubsub" }));
  const shutdowns: { force: boolean }[] = [];
  const settings = testSettings();
  return {
    principal,
    settings,
    configuration: testConfiguration(),
    resources: [],
    channel: undefined,
    pubsub: createPubSub({
      principal,
      components,
      channel: undefined,
      telemetry,
      declarative: () => [],
      settings,
    }),
    jobs: createJobs({
      principal,
      channel: undefined,
      store: undefined as never,
      clock: realEdges().clock,
      telemetry,
      appMaxConcurrency: -1,
      owner: "test",
    }),
    workflows: { connectedWorkers: 0 } as never,
    elections: {
      campaign: () => ({ close: async () => {}, ended: Promise.resolve(), leadership: undefined }),
      state: async (group) => ({ group, term: 0, fencingToken: 0 }),
      resign: async () => {},
      reload: async () => {},
      close: async () => {},
    },
    schedules: { list: async () => [] } as Partial<Schedules> as Schedules,
    actors: disabledActors(),
    invoker: noInvoker,
    extendedMetadata: new Map(),
    shutdown: (request) => void shutdowns.push(request),
    ...changes,
    components,
    telemetry,
    health: testHealth(),
    policies: idlePolicies(telemetry),
    shutdowns,
  };
}
