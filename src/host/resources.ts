import { definitionsOf } from "../component/definitions.ts";
import { createComponents, type ReloadableComponents } from "../component/loader.ts";
import { engineComponents, implicitComponents } from "../engine/defaults/engine-components.ts";
import type { ExternalEndpoint } from "../peer/target.ts";
import { pluggableDefinition } from "../pluggable/definitions.ts";
import { socketFolder } from "../pluggable/sockets.ts";
import { WorkflowAccess } from "../policy/workflow-access.ts";
import { mergeConfigurations } from "../resource/configuration.ts";
import { isSameResources } from "../resource/diff.ts";
import { type LoadOptions, loadResources, type ResourceSet } from "../resource/load.ts";
import { isGrantFor } from "../resource/reference-grant.ts";
import type {
  Configuration,
  IdempotencyResource,
  Resource,
  ScheduleResource,
  SingletonResource,
  SubscriptionResource,
} from "../resource/resource.ts";
import { type ResourceWatch, watchResources } from "../resource/watch.ts";
import type { Log, Telemetry } from "../telemetry/telemetry.ts";
import { resolveEndpoints } from "./endpoints.ts";
import type { Host } from "./host.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import { withTraceEnvironment } from "./trace-environment.ts";

/** What one app's resource files and implicit components come to; kept current while they are watched. */
export interface RuntimeResources {
  readonly configuration: Configuration;
  readonly components: ReloadableComponents;
  readonly subscriptions: readonly SubscriptionResource[];
  readonly idempotencies: readonly IdempotencyResource[];
  readonly schedules: readonly ScheduleResource[];
  readonly singletons: readonly SingletonResource[];
  /** What other apps may do with this one's workflows; `undefined`: nothing says. */
  readonly workflowAccess: WorkflowAccess | undefined;
  /** HTTPEndpoints and Resiliencies, for the metadata API. */
  readonly listed: readonly Resource[];
  endpoint(name: string): ExternalEndpoint | undefined;
  openComponents(telemetry: Telemetry): Promise<void>;
  onSubscriptions(listener: () => void): void;
  onIdempotencies(listener: () => void): void;
  /** Schedules or Singletons changed. */
  onSingletons(listener: () => void): void;
  onConfiguration(listener: (configuration: Configuration) => void): void;
  /** Visible resources of the kinds that nothing else here names: routes and policies of mecha's own. */
  readonly policies: readonly Resource[];
  onPolicies(listener: () => void): void;
  /** Whether there is one of that name, for whichever app. */
  isKnown(kind: "Component" | "HTTPEndpoint", name: string): boolean;
  close(): Promise<void>;
}

export interface ResourcesRequest {
  host: Host;
  options: RuntimeOptions;
  log: Log;
}

/** Reads the files; rejects with every error in them, each with its place. */
export async function openResources(request: ResourcesRequest): Promise<RuntimeResources> {
  const { options, host, log } = request;
  const loading: LoadOptions = { isStrict: options.isStrict, env: host.env, log, files: host.edges.files };
  const [set, configurations] = await Promise.all([
    loadResources(options.resourcesPaths, loading),
    loadResources(options.configPaths, loading),
  ]);
  return new Resources(request, loading, set, mergeConfigurations(configurations.configurations));
}

class Resources implements RuntimeResources {
  configuration: Configuration;
  components!: ReloadableComponents;
  subscriptions: readonly SubscriptionResource[] = [];
  idempotencies: readonly IdempotencyResource[] = [];
  schedules: readonly ScheduleResource[] = [];
  singletons: readonly SingletonResource[] = [];
  workflowAccess: WorkflowAccess | undefined;
  policies: readonly Resource[] = [];
  listed: readonly Resource[] = [];
  private set: ResourceSet;
  private endpoints = new Map<string, ExternalEndpoint>();
  private readonly request: ResourcesRequest;
  private readonly loading: LoadOptions;
  private readonly watches: ResourceWatch[] = [];
  private readonly listeners: (() => void)[] = [];
  private readonly idempotencyListeners: (() => void)[] = [];
  private readonly singletonListeners: (() => void)[] = [];
  private readonly policyListeners: (() => void)[] = [];
  private readonly configurationListeners: ((configuration: Configuration) => void)[] = [];

  constructor(
    request: ResourcesRequest,
    loading: LoadOptions,
    set: ResourceSet,
    configuration: Configuration,
  ) {
    this.request = request;
    this.loading = loading;
    this.set = set;
    this.configuration = this.withFlags(configuration);
    for (const resource of set.configurations) {
      const { file, line } = resource.source;
      request.log.warn(
        {},
        `${file}:${line}: a Configuration has no effect in a resources folder: name its file with --config`,
      );
    }
  }

  async openComponents(telemetry: Telemetry): Promise<void> {
    const { host, options, log } = this.request;
    const own = engineComponents(host.store, { secretFolders: [process.cwd(), host.dataFolder] });
    const sockets = socketFolder(host.env);
    this.components = await createComponents({
      definitions: definitionsOf(own, (type, version) => pluggableDefinition(type, version, sockets)),
      resources: this.set.components,
      implicit: options.isStrict ? [] : implicitComponents,
      principal: principalOf(options),
      namespaceFilter: options.namespace,
      deny: this.configuration.componentsDeny,
      isStrict: options.isStrict,
      log,
      metrics: telemetry.metrics,
      edges: host.edges,
      env: host.env,
    });
    await this.take(this.set);
    if (this.configuration.features.HotReload !== false) await this.watch();
  }

  endpoint(name: string): ExternalEndpoint | undefined {
    return this.endpoints.get(name);
  }

  onConfiguration(listener: (configuration: Configuration) => void): void {
    this.configurationListeners.push(listener);
  }

  isKnown(kind: "Component" | "HTTPEndpoint", name: string): boolean {
    if (kind === "HTTPEndpoint") return this.set.httpEndpoints.some((one) => one.name === name);
    const isOpen = this.components.all().some((one) => one.name === name);
    return isOpen || this.set.components.some((one) => one.name === name);
  }

  onIdempotencies(listener: () => void): void {
    this.idempotencyListeners.push(listener);
  }

  onPolicies(listener: () => void): void {
    this.policyListeners.push(listener);
  }

  onSubscriptions(listener: () => void): void {
    this.listeners.push(listener);
  }

  onSingletons(listener: () => void): void {
    this.singletonListeners.push(listener);
  }

  async close(): Promise<void> {
    await Promise.all(this.watches.map((watch) => watch.close()));
    await this.components?.close();
  }

  private async watch(): Promise<void> {
    const { options, host } = this.request;
    const shared = { ...this.loading, clock: host.clock, reconcileIntervalMs: options.reconcileIntervalMs };
    const { log } = this.request;
    const onError = (error: Error): void =>
      log.error({}, `the changed resources can not be used, the old ones stay: ${error.message}`);
    if (options.resourcesPaths.length > 0) {
      const onChange = (set: ResourceSet): Promise<void> => this.reload(set);
      this.watches.push(
        await watchResources(options.resourcesPaths, { ...shared, since: this.set.print, onChange, onError }),
      );
    }
    if (options.configPaths.length > 0) {
      const onChange = (set: ResourceSet): void => {
        this.configuration = this.withFlags(mergeConfigurations(set.configurations));
        log.info({}, `Configuration updated: ${this.configuration.names.join(", ")}`);
        for (const listener of this.configurationListeners) listener(this.configuration);
      };
      this.watches.push(await watchResources(options.configPaths, { ...shared, onChange, onError }));
    }
  }

  private async reload(set: ResourceSet): Promise<void> {
    const before = this.subscriptions;
    const idempotencies = this.idempotencies;
    const policies = this.policies;
    const singletons = [...this.schedules, ...this.singletons];
    await this.components.apply(set.components);
    this.set = set;
    await this.take(set);
    if (!isSameResources(idempotencies, this.idempotencies))
      for (const listener of this.idempotencyListeners) listener();
    if (!isSameResources(policies, this.policies)) for (const listener of this.policyListeners) listener();
    if (!isSameResources(before, this.subscriptions)) for (const listener of this.listeners) listener();
    if (isSameResources(singletons, [...this.schedules, ...this.singletons])) return;
    for (const listener of this.singletonListeners) listener();
  }

  private async take(set: ResourceSet): Promise<void> {
    const endpoints = set.httpEndpoints.filter((resource) => this.isVisible(resource));
    this.endpoints = await resolveEndpoints(endpoints, this.components);
    this.subscriptions = set.subscriptions.filter((resource) => this.isVisible(resource));
    this.idempotencies = set.idempotencies.filter((resource) => this.isVisible(resource));
    this.policies = set.others.filter((resource) => this.isVisible(resource));
    this.schedules = set.schedules.filter((resource) => this.isVisible(resource));
    const policies = set.workflowAccessPolicies.filter((resource) => this.isVisible(resource));
    this.workflowAccess = policies.length === 0 ? undefined : new WorkflowAccess(policies);
    this.singletons = set.singletons.filter((resource) => this.isVisible(resource));
    this.listed = [...endpoints, ...set.resiliencies.filter((resource) => this.isVisible(resource))];
  }

  private isVisible(resource: Resource): boolean {
    const { scopes, namespace } = resource;
    const { appId, namespace: filter } = this.request.options;
    const isHere = filter === "" || namespace === "" || namespace === filter || isGrantFor(resource, filter);
    return isHere && (scopes.length === 0 || scopes.includes(appId));
  }

  /** With what flags and environment say over it. */
  private withFlags(configuration: Configuration): Configuration {
    const { options, host } = this.request;
    const { apiLogging } = configuration;
    const enabled = options.enableApiLogging ?? apiLogging.enabled;
    const tracing = withTraceEnvironment(configuration.tracing, host.env);
    return { ...configuration, tracing, apiLogging: { ...apiLogging, enabled } };
  }
}
