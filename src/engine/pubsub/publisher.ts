import type { LoadedComponent } from "../../component/components.ts";
import type { BulkPublishEntry, PubSub } from "../../component/pubsub.ts";
import { errors, type FaultOptions } from "../../errors.ts";
import { messageOf } from "../../kit/message-of.ts";
import { cloudEventType } from "./content-type.ts";
import type { PubSubContext } from "./context.ts";
import type { BulkPublishRequest, PreparedPublication, PublishRequest } from "./engine.ts";
import { type EnvelopeParts, NotACloudEvent, sealEnvelope } from "./envelope.ts";
import { EgressMeter } from "./meters.ts";
import { InvalidRawPayload, rawPayloadOf, ttlMsOf } from "./publish-metadata.ts";

/** A topic of a component as this app may publish to it. */
interface Destination {
  component: LoadedComponent<"pubsub">;
  brokerTopic: string;
  isAllowed: boolean;
  meter: EgressMeter;
}

type Failure = { entryId: string; error: string };

/** Topics whose meters are kept at hand, per component. */
const destinationsMax = 1000;

/** Wraps, checks and hands to the component what the app publishes (dapr-api.md §6.1 to §6.3, §6.11). */
export class Publisher {
  readonly #context: PubSubContext;
  readonly #destinations = new WeakMap<PubSub, Map<string, Destination>>();
  readonly #newId: () => string;

  constructor(context: PubSubContext) {
    this.#context = context;
    this.#newId = () => context.edges.random.uuid();
  }

  async publish(request: PublishRequest): Promise<void> {
    const { pubsubName, topic, metadata } = request;
    const destination = this.#destination(pubsubName, topic);
    const { component, brokerTopic, meter } = destination;
    const isRaw = this.#isRaw(pubsubName, metadata);
    const { clock } = this.#context.edges;
    const startMs = clock.monotonicMs();
    try {
      this.#checkAllowed(destination, request);
      const data = isRaw ? request.data : this.#seal(component, request, request);
      const contentType = isRaw ? request.contentType : cloudEventType;
      await this.#send(component, { topic: brokerTopic, data, contentType, metadata }, request);
    } catch (fault) {
      meter.record(false, clock.monotonicMs() - startMs);
      throw fault;
    }
    meter.record(true, clock.monotonicMs() - startMs);
  }

  /** Checks and wraps like `publish`, for who brings it to the broker in another way. */
  prepare(request: PublishRequest, eventId: string): PreparedPublication {
    const { pubsubName, topic, metadata } = request;
    const destination = this.#destination(pubsubName, topic);
    this.#checkAllowed(destination, request);
    const { component, brokerTopic } = destination;
    const isRaw = this.#isRaw(pubsubName, metadata);
    const data = isRaw ? request.data : this.#seal(component, request, request, () => eventId);
    const contentType = isRaw ? request.contentType : cloudEventType;
    return { component, message: { topic: brokerTopic, data, contentType, metadata } };
  }

  async bulkPublish(request: BulkPublishRequest): Promise<Failure[]> {
    const { pubsubName, topic } = request;
    const destination = this.#destination(pubsubName, topic);
    checkEntryIds(request);
    const isRaw = this.#isRaw(pubsubName, request.metadata);
    this.#checkAllowed(destination, request);
    const entries = request.entries.map((entry): BulkPublishEntry => {
      const metadata = { ...request.metadata, ...entry.metadata };
      if (isRaw) return { ...entry, metadata };
      const data = this.#seal(destination.component, request, { ...entry, metadata });
      return { entryId: entry.entryId, data, contentType: cloudEventType, metadata };
    });
    const { clock } = this.#context.edges;
    const startMs = clock.monotonicMs();
    const failed = await bulkThrough(destination, entries);
    const elapsedMs = clock.monotonicMs() - startMs;
    destination.meter.recordBulk(failed.length === 0, entries.length - failed.length, elapsedMs);
    return failed;
  }

  async #send(
    component: LoadedComponent<"pubsub">,
    message: Parameters<PubSub["publish"]>[0],
    { topic, pubsubName }: PublishRequest,
  ): Promise<void> {
    try {
      await component.instance.publish(message);
    } catch (cause) {
      const why = messageOf(cause);
      const metadata = { topic, error: why };
      throw errors.PUBSUB_PUBLISH(topic, pubsubName, why, { ...about(pubsubName), metadata, cause });
    }
  }

  #destination(pubsubName: string, topic: string): Destination {
    const { components } = this.#context;
    const component = pubsubName === "" ? undefined : components.find("pubsub", pubsubName);
    if (component === undefined) {
      const known = components.list("pubsub");
      if (known.length === 0) throw errors.PUBSUB_NOT_CONFIGURED(pubsubName, about(pubsubName));
      if (pubsubName === "") throw errors.PUBSUB_NAME_EMPTY(about(pubsubName));
      const hint = `known: ${known.map(({ name }) => name).join(", ")}`;
      throw errors.PUBSUB_NOT_FOUND(pubsubName, { ...about(pubsubName), hint });
    }
    if (topic === "") throw errors.PUBSUB_TOPIC_EMPTY(pubsubName, about(pubsubName));
    return this.#known(component, topic);
  }

  #known(component: LoadedComponent<"pubsub">, topic: string): Destination {
    let ofComponent = this.#destinations.get(component.instance);
    if (ofComponent === undefined) {
      ofComponent = new Map();
      this.#destinations.set(component.instance, ofComponent);
    }
    let destination = ofComponent.get(topic);
    if (destination === undefined) {
      const { telemetry, identity } = this.#context;
      const topics = this.#context.topicsOf(component);
      destination = {
        component,
        brokerTopic: topics.toBroker(topic),
        isAllowed: topics.canPublish(topic),
        meter: new EgressMeter(telemetry.metrics, identity, component.name, topic),
      };
      if (ofComponent.size >= destinationsMax) ofComponent.clear();
      ofComponent.set(topic, destination);
    }
    return destination;
  }

  #checkAllowed(
    { isAllowed }: Destination,
    { topic, pubsubName }: { topic: string; pubsubName: string },
  ): void {
    if (isAllowed) return;
    const { appId } = this.#context.identity;
    const error = `topic ${topic} is not allowed for app id ${appId}`;
    throw errors.PUBSUB_FORBIDDEN(topic, appId, { ...about(pubsubName), metadata: { topic, error } });
  }

  #isRaw(pubsubName: string, metadata: Record<string, string>): boolean {
    try {
      return rawPayloadOf(metadata);
    } catch (error) {
      if (!(error instanceof InvalidRawPayload)) throw error;
      throw errors.PUBSUB_METADATA(error.message, { ...about(pubsubName), cause: error });
    }
  }

  #seal(
    component: LoadedComponent<"pubsub">,
    { pubsubName, topic, trace, baggage }: PublishRequest | BulkPublishRequest,
    { data, contentType, metadata }: Pick<EnvelopeParts, "data" | "contentType" | "metadata">,
    newId = this.#newId,
  ): Uint8Array {
    const { edges, identity } = this.#context;
    const nowMs = edges.clock.now();
    const ttlMs = component.instance.features.has("MESSAGE_TTL") ? undefined : ttlMsOf(metadata);
    try {
      return sealEnvelope({
        data,
        contentType,
        metadata,
        topic,
        pubsubName,
        trace,
        baggage,
        nowMs,
        source: identity.appId,
        newId,
        expiresAtMs: ttlMs === undefined ? undefined : nowMs + ttlMs,
      });
    } catch (error) {
      if (!(error instanceof NotACloudEvent)) throw error;
      throw errors.PUBSUB_CLOUD_EVENT({
        ...about(pubsubName),
        metadata: { error: error.message },
        cause: error,
      });
    }
  }
}

function checkEntryIds({ entries, pubsubName, topic }: BulkPublishRequest): void {
  const seen = new Set<string>();
  for (const { entryId } of entries) {
    if (entryId !== "" && !seen.has(entryId)) seen.add(entryId);
    else {
      const why = "entryId is duplicated or not present for entry";
      const metadata = { error: why };
      throw errors.PUBSUB_MARSHAL_EVENTS(topic, pubsubName, why, { ...about(pubsubName), metadata });
    }
  }
}

/** Native when the component can, else one by one in order. */
async function bulkThrough(
  { component, brokerTopic }: Destination,
  entries: readonly BulkPublishEntry[],
): Promise<Failure[]> {
  const { instance } = component;
  if (instance.bulkPublish === undefined) return oneByOne(instance, brokerTopic, entries);
  try {
    const failed = await instance.bulkPublish(brokerTopic, entries);
    return failed.map(({ entryId, error }) => ({ entryId, error: messageOf(error) }));
  } catch (error) {
    return entries.map(({ entryId }) => ({ entryId, error: messageOf(error) }));
  }
}

async function oneByOne(
  instance: PubSub,
  topic: string,
  entries: readonly BulkPublishEntry[],
): Promise<Failure[]> {
  const failed: Failure[] = [];
  for (const { entryId, data, contentType, metadata } of entries) {
    try {
      await instance.publish({ topic, data, contentType, metadata });
    } catch (error) {
      failed.push({ entryId, error: messageOf(error) });
    }
  }
  return failed;
}

function about(pubsubName: string): FaultOptions {
  return { resource: { type: "pubsub", name: pubsubName } };
}
