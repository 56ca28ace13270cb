import { randomBytes } from "node:crypto";
import type { AppScope, AppSettings, HealthTargets } from "../api/call.ts";
import { createPolicies } from "../api/resilience.ts";
import { instanceStoreOf } from "../api/workflow-store.ts";
import { createAppChannel } from "../app/app-channel.ts";
import type { AppChannel } from "../app/channel.ts";
import { createInputBindings } from "../engine/bindings/input-bindings.ts";
import type { Idempotency } from "../engine/idempotency/idempotency.ts";
import { createJobs } from "../engine/jobs/jobs.ts";
import { createPubSub } from "../engine/pubsub/pubsub.ts";
import { createWorkflowEngine, type WorkflowEngine } from "../engine/workflow/engine.ts";
import { createInvoker } from "../peer/app-invoker.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { Invoker } from "../peer/invoker.ts";
import type { Configuration } from "../resource/resource.ts";
import type { Log, Telemetry } from "../telemetry/telemetry.ts";
import { openActors, type PeerAddress } from "./actors.ts";
import { openAdmission } from "./admission.ts";
import { openBalancing } from "./balancing.ts";
import { openGateways } from "./gateway.ts";
import { openWorkflowAuthorization } from "./guests.ts";
import { createHealthTargets } from "./health-targets.ts";
import type { Host } from "./host.ts";
import { openIdempotency } from "./idempotency.ts";
import { openPeerSecurity } from "./identity.ts";
import type { Listener } from "./listeners.ts";
import type { MutualTls } from "./mutual-tls.ts";
import { type Names, openNames } from "./name-resolution.ts";
import type { RuntimeOptions } from "./options.ts";
import { openPipeline, type Pipeline, type PipelineRequest } from "./pipelines.ts";
import { openShownMetadata, principalOf } from "./principal.ts";
import { openResources, type RuntimeResources } from "./resources.ts";
import { openRoutes } from "./routes.ts";
import { RuntimeListeners, type RuntimePorts } from "./runtime-listeners.ts";
import { appSettings } from "./settings.ts";
import { openSingletons } from "./singletons.ts";
import { openCallMeter, openLog, openMetrics, openTracer } from "./telemetry.ts";
import { openTokens, type Tokens } from "./tokens.ts";
import { openUsePolicies } from "./use-policies.ts";

export interface AppRuntimeOptions {
  host: Host;
  options: RuntimeOptions;
  /** Takes the log lines. */
  write: (line: string) => void;
}

/** One app's runtime: in sidecar mode the process has one, in node mode one per app. */
export interface AppRuntime {
  readonly options: RuntimeOptions;
  readonly ports: RuntimePorts;
  readonly scope: AppScope;
  readonly tokens: Tokens;
  readonly log: Log;
  /** Resolves when the app was found and its subscriptions run. Rejects on a fatal error of that phase. */
  readonly initialised: Promise<void>;
  /** Calls the listener when the API asked for a shutdown. */
  onShutdown(listener: (request: { force: boolean }) => void): void;
  /** Stops inflow: subscriptions and incoming calls; outbound APIs go on. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** Starts in daprd's order (dapr-api.md §1.3). Resolves when the APIs listen and outbound calls work. */
export async function openAppRuntime(request: AppRuntimeOptions): Promise<AppRuntime> {
  const { host, options } = request;
  checkAppId(options.appId);
  const startedAt = performance.now();
  const log = openLog(options, host.hostName, request.write);
  const runtime = new Runtime(host, options, log);
  try {
    await runtime.open();
  } catch (error) {
    await runtime.close();
    throw error;
  }
  runtime.initialise(startedAt);
  return runtime;
}

function checkAppId(appId: string): void {
  if (appId === "") throw new Error("app-id parameter cannot be empty");
  if (appId.includes(".")) throw new Error("parameter app-id cannot contain dots");
}

const noAddress: PeerAddress = { host: "", port: 0, peerToken: "" };

class Runtime implements AppRuntime {
  readonly options: RuntimeOptions;
  readonly ports: RuntimePorts;
  readonly log: Log;
  initialised: Promise<void> = Promise.resolve();
  scope!: AppScope;
  tokens!: Tokens;
  private readonly policies = createPolicies(() => this.scope);
  private readonly host: Host;
  private readonly health: HealthTargets = createHealthTargets();
  private readonly lifetime = new AbortController();
  private readonly listening: RuntimeListeners;
  private readonly closers: (() => Promise<void> | void)[] = [];
  private readonly shutdownListeners: ((request: { force: boolean }) => void)[] = [];
  private names!: Names;
  private resources: RuntimeResources | undefined;
  private channel: AppChannel | undefined;
  private idempotency: Idempotency | undefined;
  private routes: ReturnType<typeof openRoutes> = () => undefined;
  private security: MutualTls | undefined;
  private gateways: Pick<Listener, "close"> | undefined;
  private isDrained = false;

  constructor(host: Host, options: RuntimeOptions, log: Log) {
    this.host = host;
    this.options = options;
    this.log = log;
    this.health.set("runtime", false);
    this.listening = new RuntimeListeners({ host, options, log, health: this.health });
    this.ports = this.listening.ports;
  }

  onShutdown(listener: (request: { force: boolean }) => void): void {
    this.shutdownListeners.push(listener);
  }

  async open(): Promise<void> {
    const { host, options, log } = this;
    this.resources = await openResources({ host, options, log });
    const { configuration } = this.resources;
    const telemetry = await this.openTelemetry(configuration);
    this.security = await openPeerSecurity({ host, options, resources: this.resources, log });
    this.closers.push(() => this.security?.close());
    this.names = await openNames({ host, options, resources: this.resources, security: this.security, log });
    this.closers.push(() => this.names.close());
    await this.resources.openComponents(telemetry);
    this.tokens = await openTokens(options, { edges: host.edges, log });
    this.closers.push(() => this.tokens.close());
    this.closers.push(() => this.resources?.close());
    this.routes = openRoutes(this.resources, principalOf(options).namespace);
    this.scope = this.buildScope(telemetry);
    await this.idempotency?.apply(this.resources.idempotencies);
    await this.scope.schedules.reload();
    const { resources, scope, security, names } = this;
    const pipeline = this.pipeline(({ httpPipeline }) => httpPipeline);
    await this.listening.open({ scope, pipeline, telemetry, security, names });
    this.gateways = await openGateways({ host, options, resources, invoker: scope.invoker, telemetry });
    this.health.setOutboundReady(true);
  }

  private async openTelemetry(configuration: Configuration): Promise<Telemetry> {
    const { host, options, log } = this;
    const graceMs = options.gracefulShutdownSeconds * 1000;
    const request = { appId: options.appId, env: host.env, log, graceMs };
    const tracer = await openTracer(request, configuration.tracing);
    this.closers.push(() => tracer.close());
    this.resources?.onConfiguration(({ tracing }) => {
      tracer.follow(tracing).catch((error) => log.error({ error }, "the changed tracing can not be used"));
    });
    return { log, metrics: openMetrics(configuration), tracer };
  }

  /** The part that waits for the app; errors of it are fatal to the runtime and logged as daprd does. */
  initialise(startedAt: number): void {
    this.initialised = this.connectApp().then(() => {
      if (this.lifetime.signal.aborted) return;
      this.health.set("runtime", true);
      const tookMs = Math.round(performance.now() - startedAt);
      this.log.info({}, `dapr initialized. Status: Running. Init Elapsed ${tookMs}ms`);
    });
    this.initialised.catch((error) => {
      if (this.lifetime.signal.aborted) return;
      this.log.fatal({ error }, `Fatal error from runtime: ${(error as Error).message}`);
      for (const listener of this.shutdownListeners) listener({ force: true });
    });
  }

  async drain(): Promise<void> {
    if (this.isDrained) return;
    this.isDrained = true;
    await this.listening.peerPort?.withdraw();
    const { pubsub, jobs, actors, schedules, elections } = this.scope ?? {};
    await Promise.all([pubsub?.pause(), jobs?.pause(), actors?.pause(), schedules?.pause()]);
    await elections?.close();
  }

  async close(): Promise<void> {
    this.lifetime.abort();
    await this.drain().catch((error) => this.log.warn({ error }, "drain failed"));
    const graceMs = this.options.gracefulShutdownSeconds * 1000;
    const { pubsub, jobs, actors, workflows, schedules } = this.scope ?? {};
    await Promise.all([
      pubsub?.close(),
      jobs?.close(),
      actors?.close(),
      workflows?.close(),
      schedules?.close(),
    ]);
    await Promise.all([this.listening.close(graceMs), this.gateways?.close(graceMs)]);
    await this.idempotency?.close();
    await this.scope?.invoker.close();
    await this.channel?.close();
    for (const close of this.closers.reverse()) await close();
  }

  private buildScope(telemetry: Telemetry): AppScope {
    const { host, options } = this;
    const resources = this.resources as RuntimeResources;
    const principal = principalOf(options);
    const settings = appSettings(options, this.tokens);
    if (options.appPort > 0) this.channel = this.openChannel(settings, telemetry);
    const { channel } = this;
    this.idempotency = openIdempotency({
      ...{ host, options, resources, channel, telemetry, scope: () => this.scope },
    });
    const actors = openActors({
      ...{ host, options, resources, channel, telemetry, health: this.health },
      policy: this.policies.actors,
      address: () => this.listening.peerPort?.address ?? noAddress,
      security: this.security,
    });
    const authorize = openAdmission({ host, options, resources, telemetry, closers: this.closers });
    const target = { channel, authorize, actors: actors.peer, labels: options.labels };
    this.closers.push(host.registry.local.register(principal, target));
    const shared = { principal, settings, channel, telemetry, components: resources.components };
    const pubsub = createPubSub({
      ...shared,
      declarative: () => resources.subscriptions,
      edges: host.edges,
      discovers: !options.disableInitEndpoints.includes("subscribe"),
      inbound: this.policies.inbound,
      askPlan: this.policies.askPlan,
      guardOf: this.idempotency.guardOf,
    });
    const jobs = createJobs({
      ...shared,
      store: host.store,
      clock: host.clock,
      appMaxConcurrency: options.appMaxConcurrency,
      owner: randomBytes(9).toString("base64url"),
    });
    const workflows = this.openWorkflows(telemetry);
    const invoker = this.openInvoker(shared);
    const owner = randomBytes(9).toString("base64url");
    const singletons = openSingletons({ ...shared, host, resources, invoker, pubsub, owner });
    resources.onSubscriptions(() => void pubsub.reload());
    return {
      ...shared,
      get configuration() {
        return resources.configuration;
      },
      get resources() {
        return resources.listed;
      },
      pubsub,
      workflows,
      jobs,
      actors: actors.engine,
      invoker,
      ...singletons,
      policies: this.openUsePolicies(telemetry),
      health: this.health,
      extendedMetadata: openShownMetadata(options, this.security),
      shutdown: (request) => this.requestShutdown(request),
    };
  }

  private openInvoker(shared: Pick<AppScope, "principal" | "settings" | "channel" | "telemetry">): Invoker {
    const { host, options } = this;
    const resources = this.resources as RuntimeResources;
    return createInvoker({
      ...shared,
      ...{ registry: this.names.peers, httpClient: host.httpClient, clock: host.clock },
      security: this.security,
      httpEndpoint: (name) => resources.endpoint(name),
      ...{ sockets: host.edges.sockets, random: host.edges.random, labels: options.labels },
      routes: this.routes,
      balancing: openBalancing({ principal: shared.principal, resources, log: this.log }),
      ...this.policies.peer,
      trustDomain: () => resources.configuration.accessControl?.trustDomain ?? trustDomainDefault,
    });
  }

  private openChannel(settings: AppSettings, telemetry: Telemetry): AppChannel {
    const { host, options } = this;
    return createAppChannel({
      settings,
      httpClient: host.httpClient,
      sockets: host.edges.sockets,
      telemetry,
      clock: host.clock,
      pipeline: this.pipeline(({ appHttpPipeline }) => appHttpPipeline),
      meter: openCallMeter(options.appId, telemetry, this.resources as RuntimeResources),
    });
  }

  private pipeline(pick: PipelineRequest["pick"]): Pipeline {
    return openPipeline({ resources: this.resources as RuntimeResources, log: this.log, pick });
  }

  private openWorkflows(telemetry: Telemetry): WorkflowEngine {
    const { host, options } = this;
    const principal = principalOf(options);
    const resources = this.resources as RuntimeResources;
    const workflows = createWorkflowEngine({
      ...{ app: principal, store: host.store, edges: host.edges },
      telemetry: { ...telemetry, log: this.log.scope("dapr.runtime.wfengine") },
      messageBytesMax: options.maxBodyBytes,
      limits: () => resources.configuration.workflow,
      access: () => resources.workflowAccess,
      authorize: openWorkflowAuthorization({ host, principal, resources, telemetry }),
      guardOf: this.idempotency?.startGuardOf,
      activityPolicy: this.policies.activities,
      instanceStore: instanceStoreOf(resources.components, () => this.scope),
    });
    resources.onConfiguration(() => workflows.limitsChanged());
    workflows.start();
    return workflows;
  }

  /** What decides on calls that come in for the app. */
  private openUsePolicies(telemetry: Telemetry): AppScope["policies"] {
    const { host, options } = this;
    const resources = this.resources as RuntimeResources;
    const policies = openUsePolicies({ host, principal: principalOf(options), resources, telemetry });
    this.closers.push(() => policies.close());
    return policies;
  }

  private requestShutdown(request: { force: boolean }): void {
    if (request.force) {
      this.log.warn({}, "Force shutdown requested, exiting immediately without graceful shutdown");
      setTimeout(() => this.notifyShutdown(request), 100);
      return;
    }
    this.log.info({}, "Shutdown requested via API");
    // The reply goes out first.
    setTimeout(() => this.notifyShutdown(request), 20);
  }

  private notifyShutdown(request: { force: boolean }): void {
    for (const listener of this.shutdownListeners) listener(request);
  }

  private async connectApp(): Promise<void> {
    const { channel } = this;
    const { signal } = this.lifetime;
    if (channel !== undefined) {
      await channel.waitUntilReachable(signal);
      if (signal.aborted) return;
    }
    await this.scope.pubsub.start();
    await this.scope.actors.start();
    await this.startBindings(channel);
    await this.startSingletons();
    this.followHealth();
  }

  private async startSingletons(): Promise<void> {
    if (this.isDrained) return;
    const { schedules, elections } = this.scope;
    schedules.start();
    await elections.reload();
    this.resources?.onSingletons(() => {
      const fail = (error: Error): void => this.log.error({}, `the old one stays: ${error.message}`);
      if (!this.isDrained) void Promise.all([schedules.reload(), elections.reload()]).catch(fail);
    });
  }

  private async startBindings(channel: AppChannel | undefined): Promise<void> {
    const { principal, components, telemetry } = this.scope;
    const shared = { principal, components, telemetry, channel };
    const policy = this.policies.bindings;
    const bindings = createInputBindings({ ...shared, policy, guardOf: this.idempotency?.bindingGuardOf });
    this.closers.push(() => bindings.close());
    await bindings.start();
  }

  /** Jobs come, and actors live here, while the app is there and healthy. */
  private followHealth(): void {
    const { channel } = this;
    const { jobs, actors } = this.scope;
    const follow = (isHealthy: boolean): void => {
      if (this.isDrained) return;
      if (isHealthy) jobs.start();
      else void jobs.pause();
      void (isHealthy ? actors.resume() : actors.pause());
    };
    if (channel === undefined) return;
    this.closers.push(channel.onHealthChange(follow));
    follow(channel.isHealthy);
  }
}
