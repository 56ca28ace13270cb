import { definitionsOf } from "../component/definitions.ts";
import { createComponents, type ReloadableComponents } from "../component/loader.ts";
import { realEdges } from "../edges/edges.ts";
import { engineComponents, implicitComponents } from "../engine/defaults/engine-components.ts";
import type { ExternalEndpoint } from "../peer/target.ts";
import type { Configuration, Resource, SubscriptionResource } from "../resource/resource.ts";
import { defaultLatencyBuckets } from "../telemetry/metrics.ts";
import type { Log, Telemetry } from "../telemetry/telemetry.ts";
import type { Host } from "./host.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";

/** What one app's resource files and implicit components come to; kept current while they are watched. */
export interface RuntimeResources {
  readonly configuration: Configuration;
  readonly components: ReloadableComponents;
  readonly subscriptions: readonly SubscriptionResource[];
  readonly listed: readonly Resource[];
  endpoint(name: string): ExternalEndpoint | undefined;
  openComponents(telemetry: Telemetry): Promise<void>;
  onSubscriptions(listener: () => void): void;
  close(): Promise<void>;
}

export interface ResourcesRequest {
  host: Host;
  options: RuntimeOptions;
  log: Log;
}

export async function openResources(request: ResourcesRequest): Promise<RuntimeResources> {
  return new Resources(request);
}

class Resources implements RuntimeResources {
  configuration: Configuration;
  components!: ReloadableComponents;
  subscriptions: readonly SubscriptionResource[] = [];
  listed: readonly Resource[] = [];
  private readonly request: ResourcesRequest;

  constructor(request: ResourcesRequest) {
    this.request = request;
    this.configuration = {
      tracing: { samplingRate: 0, stdout: false },
      metrics: {
        enabled: true,
        recordErrorCodes: false,
        http: { increasedCardinality: true, pathMatching: [], excludeVerbs: false },
        latencyDistributionBuckets: [...defaultLatencyBuckets],
        rules: [],
      },
      secrets: { scopes: [] },
      api: { allowed: [], denied: [] },
      componentsDeny: [],
      features: {},
      apiLogging: { enabled: false, obfuscateURLs: false, omitHealthChecks: false },
      names: [],
    };
  }

  async openComponents(telemetry: Telemetry): Promise<void> {
    const { host, options, log } = this.request;
    const extra = engineComponents(host.store, { secretFolders: [process.cwd(), host.dataFolder] });
    this.components = await createComponents({
      definitions: definitionsOf(extra),
      resources: [],
      implicit: options.isStrict ? [] : implicitComponents,
      principal: principalOf(options),
      namespaceFilter: options.namespace,
      deny: this.configuration.componentsDeny,
      isStrict: options.isStrict,
      log,
      metrics: telemetry.metrics,
      edges: realEdges(),
      env: host.env,
    });
  }

  endpoint(_name: string): ExternalEndpoint | undefined {
    return undefined;
  }

  onSubscriptions(_listener: () => void): void {}

  close(): Promise<void> {
    return this.components?.close() ?? Promise.resolve();
  }
}
