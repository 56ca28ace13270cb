import type { MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ActorsStatus } from "../engine/actors/engine.ts";
import type { ActiveSubscription } from "../engine/pubsub/engine.ts";
import { after } from "../kit/after.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { GetMetadataResponseSchema } from "../wire/dapr/proto/runtime/v1/metadata_pb.js";
import type { AppScope, AppSettings } from "./call.ts";
import { failures } from "./docs.ts";
import { metadataJson } from "./metadata-json.ts";
import { operation } from "./operation.ts";
import { jsonReply, noContent } from "./reply.ts";

const group = { name: "metadata", version: "v1.0" };

export type MetadataReply = MessageInitShape<typeof GetMetadataResponseSchema>;

export const getMetadata = operation(Dapr.method.getMetadata, {
  name: "GetMetadata",
  group,
  http: {
    verbs: ["GET"],
    path: "/v1.0/metadata",
    request: () => ({}),
    reply: (response, http) =>
      jsonReply(
        metadataJson(response, {
          resiliencies: named(http.app, "Resiliency"),
          upstreams: http.app.invoker.upstreams(),
          conditions: http.app.invoker.refsNotPermitted().map(({ resource, message }) => ({
            ...{ kind: resource.kind, name: resource.name, namespace: resource.namespace },
            ...{ type: "ResolvedRefs", status: "False", reason: "RefNotPermitted", message },
          })),
        }),
      ),
    docs: {
      summary: "What this runtime has loaded and is connected to",
      replies: {
        200: { description: "The metadata", contentType: "application/json", schema: { type: "object" } },
      },
    },
  },
  handle: (_request, { app }) => describe(app),
});

export const setMetadata = operation(Dapr.method.setMetadata, {
  name: "SetMetadata",
  group,
  http: {
    verbs: ["PUT"],
    path: "/v1.0/metadata/{key}",
    request: (http) =>
      after(http.body(), (body) => ({ key: http.param("key"), value: Buffer.from(body).toString("utf8") })),
    reply: () => noContent,
    docs: {
      summary: "Keep a value in the extended metadata",
      body: { "text/plain": { type: "string" } },
      replies: { 204: { description: "Kept" }, ...failures({ 400: "ERR_BODY_READ" }) },
    },
  },
  handle({ key, value }, { app }) {
    if (key !== "") app.extendedMetadata.set(key, value);
    return {};
  },
});

/** PubsubSubscriptionType by the names of the engine. */
const subscriptionTypes: Record<ActiveSubscription["type"], 1 | 2 | 3> = {
  DECLARATIVE: 1,
  PROGRAMMATIC: 2,
  STREAMING: 3,
};

/** ActorRuntime.ActorRuntimeStatus by the names of the engine. */
const actorStatuses: Record<ActorsStatus["status"], 0 | 1 | 2> = { initializing: 0, disabled: 1, running: 2 };

function describe(app: AppScope): MetadataReply {
  const { settings, principal, configuration } = app;
  const version = settings.runtimeVersion;
  const actors = app.actors.status();
  return {
    id: principal.appId,
    runtimeVersion: version,
    enabledFeatures: Object.keys(configuration.features).filter((name) => configuration.features[name]),
    registeredComponents: app.components
      .all()
      .map(({ name, type, version: componentVersion, capabilities }) => ({
        name,
        type,
        version: componentVersion,
        capabilities,
      })),
    extendedMetadata: { ...Object.fromEntries(app.extendedMetadata), daprRuntimeVersion: version },
    subscriptions: app.pubsub.subscriptions().map(subscriptionOf),
    httpEndpoints: named(app, "HTTPEndpoint"),
    ...newerFields({ resiliencies: named(app, "Resiliency") }),
    appConnectionProperties: connectionOf(settings),
    activeActorsCount: actors.activeActors,
    actorRuntime: {
      runtimeStatus: actorStatuses[actors.status],
      activeActors: actors.activeActors,
      hostReady: actors.isHostReady,
      placement: actors.placement,
    },
    workflows: { connectedWorkers: app.workflows.connectedWorkers },
  };
}

/** `repeated MetadataResiliency resiliencies = 15`, which the contract inside the SDK's package does not have yet. */
function newerFields({ resiliencies }: { resiliencies: { name: string }[] }): object {
  const $unknown = resiliencies.map(({ name }) => {
    const bytes = Buffer.from(name);
    const item = Buffer.concat([Uint8Array.of(0x0a), varint(bytes.length), bytes]);
    return { no: 15, wireType: WireType.LengthDelimited, data: Buffer.concat([varint(item.length), item]) };
  });
  return { $unknown };
}

function varint(value: number): Uint8Array {
  return new BinaryWriter().uint32(value).finish();
}

function named({ resources }: AppScope, kind: string): { name: string }[] {
  return resources.flatMap((resource) => (resource.kind === kind ? [{ name: resource.name }] : []));
}

function subscriptionOf(subscription: ActiveSubscription) {
  const { pubsubName, topic, metadata, deadLetterTopic, rules, type } = subscription;
  return {
    pubsubName,
    topic,
    metadata,
    deadLetterTopic,
    rules: { rules: rules.map(({ match, path }) => ({ match, path })) },
    type: subscriptionTypes[type],
  };
}

function connectionOf(settings: AppSettings) {
  const { appPort, appProtocol, appChannelAddress, appMaxConcurrency, appHealth } = settings;
  const isHttp = appProtocol !== "grpc" && appProtocol !== "grpcs";
  return {
    port: appPort,
    protocol: appProtocol,
    channelAddress: appChannelAddress,
    maxConcurrency: Math.max(0, appMaxConcurrency),
    health: appHealth && {
      healthCheckPath: isHttp ? appHealth.path : "",
      healthProbeInterval: goDuration(appHealth.probeIntervalMs),
      healthProbeTimeout: goDuration(appHealth.probeTimeoutMs),
      healthThreshold: appHealth.threshold,
    },
  };
}

/** As Go prints durations: `5s`, `500ms`, `1m30s`, `1.5s`. */
export function goDuration(ms: number): string {
  if (ms === 0) return "0s";
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor(ms / 60_000) % 60;
  const seconds = (ms % 60_000) / 1000;
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}
