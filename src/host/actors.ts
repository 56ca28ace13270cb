import type { HealthTargets } from "../api/call.ts";
import type { AppChannel } from "../app/channel.ts";
import { createActors, defaultLeaseMs, disabledActors } from "../engine/actors/actors.ts";
import type { ActorsEngine } from "../engine/actors/engine.ts";
import type { ActorPolicy } from "../engine/actors/policy.ts";
import type { ActorPeer } from "../peer/actor-link.ts";
import { trustDomainDefault } from "../peer/identity.ts";
import type { PeerSecurity, PeerTls } from "../peer/security.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { openActorAuthorization } from "./guests.ts";
import type { Host } from "./host.ts";
import type { RuntimeOptions } from "./options.ts";
import { principalOf } from "./principal.ts";
import type { RuntimeResources } from "./resources.ts";

/** Where other processes reach this runtime. */
export interface PeerAddress {
  host: string;
  port: number;
  peerToken: string;
  tls?: PeerTls | undefined;
}

export interface ActorsRequest {
  host: Host;
  options: RuntimeOptions;
  resources: RuntimeResources;
  channel: AppChannel | undefined;
  telemetry: Telemetry;
  health: HealthTargets;
  policy: ActorPolicy;
  address(): PeerAddress;
  security: PeerSecurity | undefined;
}

const healthTarget = "placement";

/** The actors of an app, and what other hosts reach them by. */
export function openActors(request: ActorsRequest): { engine: ActorsEngine; peer: ActorPeer | undefined } {
  const { host, options, resources, channel, telemetry, health, policy, address, security } = request;
  const principal = principalOf(options);
  if (options.isStrict && options.placementHostAddresses.length === 0) {
    telemetry.log.info({}, "Actor runtime disabled: placement service is not configured");
    return { engine: disabledActors(), peer: undefined };
  }
  const leaseMs = Number(host.env.MECHA_ACTOR_LEASE_MS) || defaultLeaseMs;
  const engine = createActors({
    principal,
    trustDomain: () => resources.configuration.accessControl?.trustDomain ?? trustDomainDefault,
    authorize: openActorAuthorization({ host, principal, resources, telemetry }),
    channel,
    store: host.store,
    edges: host.edges,
    telemetry,
    httpClient: host.httpClient,
    security,
    bodyBytesMax: options.maxBodyBytes,
    cluster: clusterOf(options),
    leaseMs,
    policy,
    discovers: !options.disableInitEndpoints.includes("config"),
    address,
    local: (name) => host.registry.local.get(name)?.actors,
    onReady: (isReady) => health.set(healthTarget, isReady),
  });
  return { engine, peer: engine.peer };
}

/** Hosts of one namespace see each other; under `mecha daprd` those that name the same placement. */
function clusterOf(options: RuntimeOptions): string {
  const namespace = encodeURIComponent(options.namespace || "default");
  if (!options.isStrict) return namespace;
  const placement = [...options.placementHostAddresses].sort().join(",");
  return `${namespace}@${encodeURIComponent(placement)}`;
}
