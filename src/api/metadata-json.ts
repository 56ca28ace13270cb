import type { MetadataReply } from "./metadata.ts";

const subscriptionTypes = ["UNKNOWN", "DECLARATIVE", "PROGRAMMATIC", "STREAMING"];
const actorStatuses = ["INITIALIZING", "DISABLED", "RUNNING"];

/** The reply as HTTP has it (dapr-api.md §3.6): other names than in the message, and empty things left out. */
export function metadataJson(reply: MetadataReply, { resiliencies, ...own }: OwnMetadata): object {
  return filled({
    id: reply.id,
    runtimeVersion: reply.runtimeVersion,
    enabledFeatures: reply.enabledFeatures,
    actors: reply.activeActorsCount?.map(plain),
    components: reply.registeredComponents?.map(componentJson),
    extended: reply.extendedMetadata,
    subscriptions: reply.subscriptions?.map(subscriptionJson),
    httpEndpoints: reply.httpEndpoints?.map(plain),
    appConnectionProperties: connectionJson(reply.appConnectionProperties),
    actorRuntime: actorRuntimeJson(reply.actorRuntime),
    scheduler: reply.scheduler && { connected_addresses: reply.scheduler.connectedAddresses },
    workflows: filled({ connectedWorkers: reply.workflows?.connectedWorkers }),
    resiliencies,
    // Not Dapr's.
    mecha: filled({ ...own }),
  });
}

interface OwnMetadata {
  resiliencies: readonly { name: string }[];
  upstreams: readonly object[];
  /** What is wrong with resources, in the words of Gateway API. */
  conditions: readonly object[];
}

type Component = NonNullable<MetadataReply["registeredComponents"]>[number];

function componentJson({ name, type, version, capabilities = [] }: Component) {
  return { ...filled({ name, type, version }), capabilities };
}

type Subscription = NonNullable<MetadataReply["subscriptions"]>[number];

function subscriptionJson({ pubsubName, topic, metadata, rules, deadLetterTopic = "", type }: Subscription) {
  return {
    pubsubname: pubsubName,
    topic,
    ...filled({ metadata, rules: rules?.rules?.map(({ match, path }) => filled({ match, path })) }),
    deadLetterTopic,
    type: subscriptionTypes[type ?? 0],
  };
}

function connectionJson(connection: MetadataReply["appConnectionProperties"]) {
  const { port, protocol, channelAddress, maxConcurrency, health } = connection ?? {};
  return filled({
    port,
    protocol,
    channelAddress,
    maxConcurrency,
    health: health && filled(plain(health)),
  });
}

function actorRuntimeJson(runtime: MetadataReply["actorRuntime"]) {
  return {
    runtimeStatus: actorStatuses[runtime?.runtimeStatus ?? 0],
    ...filled({ activeActors: runtime?.activeActors?.map(plain) }),
    hostReady: runtime?.hostReady ?? false,
    ...filled({ placement: runtime?.placement }),
  };
}

/** A message's own fields, without those that are zero. */
function plain(message: object): Record<string, unknown> {
  const { $typeName: _name, $unknown: _unknown, ...fields } = message as Record<string, unknown>;
  return filled(fields);
}

/** Leaves out what Go's `omitempty` leaves out. */
function filled(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === "" || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}
