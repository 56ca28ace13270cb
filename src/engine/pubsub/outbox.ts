import type { LoadedComponent } from "../../component/components.ts";
import { parseFlag } from "../../component/fields.ts";
import type { IncomingMessage, PubSubSubscription } from "../../component/pubsub.ts";
import type { StateStore } from "../../component/state-store.ts";
import { sleep } from "../../edges/clock.ts";
import type { SpanContext } from "../../telemetry/telemetry.ts";
import { CloudEvent } from "./cloud-event.ts";
import { cloudEventType, isCloudEventType } from "./content-type.ts";
import type { PubSubContext } from "./context.ts";
import { sealEnvelope } from "./envelope.ts";

/** What a transaction writes under one key, as the event about it shall say. */
export interface OutboxWrite {
  value: Uint8Array;
  contentType: string;
  /** `cloudevent.*` names attributes of the event. */
  metadata: Record<string, string>;
}

export interface OutboxTrace {
  trace: SpanContext | undefined;
  baggage: string | undefined;
}

interface Config {
  store: string;
  pubsub: string;
  topic: string;
  /** Where events wait until their transaction is committed. */
  waitingPubsub: string;
  discardsMissing: boolean;
}

/** Markers are Dapr's: a transaction writes one for each event, and the event follows when it is there. */
const markerPrefix = "outbox-";
const committed = Buffer.from('"0"');
const forwarded = Buffer.from('"1"');
/** A message that comes again after its event was sent on is known by its marker for that long. */
const forwardedSeconds = 24 * 3600;
/** How long a transaction may take until its event is only looked at now and then. */
const patienceMs = 10_000;
const glanceMs = 2_000;
const firstPauseMs = 25;
const pauseMaxMs = 2_000;
/** No transaction takes longer: what is still without a marker was never committed. */
const abandonedMs = 3_600_000;
/** Events without a marker wait here and must not hold up the others. */
const atOnceMax = 256;

/**
 * The transactional outbox of one app (dapr-api.md §7.7): the event of a write is published when the write is committed, and
 * only then. It is first sent to an internal topic, then the transaction writes the value and a marker, and whoever reads
 * the internal topic sends on what has its marker.
 */
export class Outboxes {
  readonly #context: PubSubContext;
  readonly #open = new Map<string, { config: Config; subscription: PubSubSubscription }>();
  #isStarted = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(context: PubSubContext) {
    this.#context = context;
  }

  has(store: LoadedComponent<"state">): boolean {
    return configOf(store) !== undefined;
  }

  /** Sends the events of a transaction on their way. Resolves to the keys that it has to write with `markerValue`. */
  announce(
    store: LoadedComponent<"state">,
    writes: readonly OutboxWrite[],
    trace: OutboxTrace,
  ): Promise<string[]> {
    const config = configOf(store);
    if (config === undefined) throw new Error(`the state store ${store.name} has no outbox`);
    return this.#announce(config, writes, trace);
  }

  start(): Promise<void> {
    this.#isStarted = true;
    return this.refresh();
  }

  /** Follows the components as they are now. */
  refresh(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#refresh());
    return this.#turn;
  }

  async close(): Promise<void> {
    this.#isStarted = false;
    await this.#turn;
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map(({ subscription }) => subscription.close()));
  }

  async #announce(
    config: Config,
    writes: readonly OutboxWrite[],
    { trace, baggage }: OutboxTrace,
  ): Promise<string[]> {
    const { identity, edges } = this.#context;
    const component = this.#pubsub(config.waitingPubsub);
    const markers = writes.map(() => markerPrefix + edges.random.uuid());
    const topic = this.#waitingTopic(config, component);
    const sending = writes.map(({ value, contentType, metadata }, index) => {
      const data = sealEnvelope({
        data: value,
        // An event of the app's own is data here, as in Dapr.
        contentType: isCloudEventType(contentType) ? "application/json" : contentType,
        ...{ topic: config.topic, pubsubName: config.pubsub, source: identity.appId },
        ...{ newId: () => markers[index] as string, nowMs: edges.clock.now(), trace, baggage },
        ...{ expiresAtMs: undefined, metadata: withoutId(metadata) },
      });
      return component.instance.publish({ topic, data, contentType: cloudEventType, metadata: {} });
    });
    await Promise.all(sending);
    return markers;
  }

  #pubsub(name: string): LoadedComponent<"pubsub"> {
    const component = this.#context.components.find("pubsub", name);
    if (component === undefined) throw new Error(`the pub/sub component ${name} of the outbox is not loaded`);
    return component;
  }

  #waitingTopic({ topic }: Config, component: LoadedComponent<"pubsub">): string {
    const { appId, namespace } = this.#context.identity;
    return this.#context.topicsOf(component).toBroker(`${namespace}${appId}${topic}outbox`);
  }

  async #refresh(): Promise<void> {
    if (!this.#isStarted) return;
    const { components, log } = this.#context;
    const wanted = components.list("state").flatMap((store) => configOf(store) ?? []);
    // Components may have been replaced: what is open belongs to the old ones.
    const old = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(old.map(({ subscription }) => subscription.close()));
    // All at once: with some brokers each subscription disturbs those that are there already.
    const opening = wanted.map(async (config) => {
      try {
        this.#open.set(config.store, { config, subscription: await this.#subscribe(config) });
      } catch (error) {
        log.error({ error, store: config.store }, "the outbox of a state store does not work");
      }
    });
    await Promise.all(opening);
  }

  #subscribe(config: Config): Promise<PubSubSubscription> {
    const component = this.#pubsub(config.waitingPubsub);
    const { consumerGroup } = this.#context.topicsOf(component);
    const request = { topic: this.#waitingTopic(config, component), metadata: {}, consumerGroup };
    const forward = (message: IncomingMessage) => this.#forward(config, message);
    // Their order does not count, as in a bulk.
    const limits = { concurrencyMax: atOnceMax, bulkMax: atOnceMax };
    return component.instance.subscribe({ ...request, ...limits }, forward);
  }

  /** Resolves when nothing is left to do for the message; it comes again when this rejects. */
  async #forward(config: Config, { data }: IncomingMessage): Promise<void> {
    const { log, components } = this.#context;
    const event = new CloudEvent(data);
    const marker = event.idForLog;
    if (!marker.startsWith(markerPrefix)) {
      log.error({ topic: config.topic, store: config.store }, "a message of the outbox is not one: dropped");
      return;
    }
    const store = components.find("state", config.store)?.instance;
    if (store === undefined) throw new Error(`the state store ${config.store} of the outbox is not loaded`);
    const ageMs = this.#context.edges.clock.now() - Date.parse(event.text("time"));
    const found = await this.#markerOf(store, marker, ageMs < patienceMs ? patienceMs : glanceMs);
    if (found === "forwarded") return;
    if (found === undefined) return this.#missing(config, event, ageMs);
    const target = this.#pubsub(config.pubsub);
    const topic = this.#context.topicsOf(target).toBroker(config.topic);
    await target.instance.publish({ topic, data, contentType: cloudEventType, metadata: {} });
    await this.#done(store, marker);
  }

  /** The transaction may be under way. */
  async #markerOf(
    store: StateStore,
    marker: string,
    waitMs: number,
  ): Promise<"committed" | "forwarded" | undefined> {
    const { clock } = this.#context.edges;
    const endMs = clock.monotonicMs() + waitMs;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMaxMs, pauseMs * 2)) {
      const entry = await store.get({ key: marker, metadata: {}, consistency: "strong" });
      if (entry !== undefined) return forwarded.equals(entry.value) ? "forwarded" : "committed";
      if (!this.#isStarted || clock.monotonicMs() + pauseMs > endMs) return undefined;
      await sleep(clock, pauseMs);
    }
  }

  #missing({ store, topic, discardsMissing }: Config, event: CloudEvent, ageMs: number): void {
    const { log } = this.#context;
    const about = { id: event.idForLog, topic, store };
    if (discardsMissing || ageMs > abandonedMs) {
      log.error(about, "an event of the outbox has no committed state: dropped");
      return;
    }
    throw new Error(`the state of the event ${about.id} is not committed`);
  }

  async #done(store: StateStore, marker: string): Promise<void> {
    if (store.features.has("TTL")) {
      await store.set({ key: marker, value: forwarded, ttlSeconds: forwardedSeconds, metadata: {} });
    } else await store.delete({ key: marker, metadata: {} });
  }
}

/** What a transaction writes under a marker's key. */
export const markerValue: Uint8Array = committed;

function configOf({ name, properties }: LoadedComponent<"state">): Config | undefined {
  const pubsub = properties.get("outboxpublishpubsub") ?? "";
  const topic = properties.get("outboxpublishtopic") ?? "";
  if (pubsub === "" || topic === "") return undefined;
  return {
    ...{ store: name, pubsub, topic },
    waitingPubsub: properties.get("outboxpubsub") || pubsub,
    discardsMissing: parseFlag(properties.get("outboxdiscardwhenmissingstate") ?? ""),
  };
}

/** The id is the marker's. */
function withoutId(metadata: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).filter(([name]) => name.toLowerCase() !== "cloudevent.id"),
  );
}
