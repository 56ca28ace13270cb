import type { AppChannel } from "../../app/channel.ts";
import type { ComponentChange, Components } from "../../component/components.ts";
import { type Edges, realEdges } from "../../edges/edges.ts";
import { errors } from "../../errors.ts";
import type { SubscriptionResource } from "../../resource/resource.ts";
import type { Telemetry } from "../../telemetry/telemetry.ts";
import { AppSubscriptions } from "./app-subscriptions.ts";
import { defaultLimits, type PubSubContext, type PubSubLimits, topicsCache } from "./context.ts";
import type { AskPlan } from "./discovery.ts";
import type { ActiveSubscription, PubSubEngine, StreamSubscriptionRequest } from "./engine.ts";
import type { GuardOf } from "./guard.ts";
import { Outboxes } from "./outbox.ts";
import { type InboundPolicy, oneAttempt } from "./outcome.ts";
import { Publisher } from "./publisher.ts";
import { StreamTarget } from "./stream-target.ts";
import { Subscriber } from "./subscriber.ts";
import type { Subscription } from "./subscription.ts";
import type { AppIdentity } from "./topics.ts";

export interface PubSubOptions {
  principal: AppIdentity;
  components: Components;
  /** `undefined` without an app port: then only streams receive. */
  channel: AppChannel | undefined;
  telemetry: Telemetry;
  /** The Subscription resources that this app may see, in load order. Asked at `start` and `reload`. */
  declarative: () => readonly SubscriptionResource[];
  /** `isStrict`: no extensions of mecha on the wire. */
  settings?: { isStrict: boolean };
  /** False with `disable-init-endpoints=subscribe`: the app is not asked. */
  discovers?: boolean;
  /** How often the app is asked again. */
  askPlan?: () => AskPlan | undefined;
  edges?: Edges;
  /** Inbound Resiliency, per component. */
  inbound?: InboundPolicy;
  /** What stands before the app for events of a subscription: asked for each, mostly nothing. */
  guardOf?: GuardOf;
  limits?: Partial<PubSubLimits>;
}

/** Publishing and delivering for one app. */
export function createPubSub(options: PubSubOptions): PubSubEngine {
  const { principal, components, telemetry } = options;
  return new Engine(options, {
    identity: principal,
    components,
    telemetry,
    log: telemetry.log.scope("dapr.runtime.pubsub"),
    edges: options.edges ?? realEdges(),
    inbound: options.inbound ?? oneAttempt,
    guardOf: options.guardOf ?? (() => undefined),
    isStrict: options.settings?.isStrict ?? false,
    limits: { ...defaultLimits, ...options.limits },
    topicsOf: topicsCache(principal),
  });
}

class Engine implements PubSubEngine {
  readonly publish: PubSubEngine["publish"];
  readonly bulkPublish: PubSubEngine["bulkPublish"];
  readonly prepare: PubSubEngine["prepare"];
  readonly #context: PubSubContext;
  readonly hasOutbox: PubSubEngine["hasOutbox"];
  readonly announce: PubSubEngine["announce"];
  readonly #app: AppSubscriptions;
  readonly #outboxes: Outboxes;
  readonly #streams = new Set<Subscriber>();
  /** Those whose broker has not answered yet. Who waits for a subscription by the metadata API publishes when it is there. */
  readonly #opening = new Set<Subscriber>();
  readonly #stopListening: () => void;
  #isPaused = false;
  #isClosed = false;

  constructor(options: PubSubOptions, context: PubSubContext) {
    this.#context = context;
    const publisher = new Publisher(context);
    this.publish = (request) => publisher.publish(request);
    this.bulkPublish = (request) => publisher.bulkPublish(request);
    this.prepare = (request, eventId) => publisher.prepare(request, eventId);
    this.#app = new AppSubscriptions(context, options);
    this.#outboxes = new Outboxes(context);
    this.hasOutbox = (store) => this.#outboxes.has(store);
    this.announce = (store, writes, trace) => this.#outboxes.announce(store, writes, trace);
    this.#stopListening = context.components.onChange((change) => {
      this.#componentChanged(change).catch((error) =>
        context.log.error({ error, component: change.name }, "subscriptions could not follow a component"),
      );
    });
  }

  subscriptions(): ActiveSubscription[] {
    const streams = [...this.#streams].filter((stream) => !this.#opening.has(stream));
    return [...this.#app.subscriptions(), ...streams.map(({ subscription }) => subscription)].map(
      activeSubscription,
    );
  }

  async start(): Promise<void> {
    await this.#app.start();
    await this.#outboxes.start();
  }

  reload(): Promise<void> {
    return this.#app.reload();
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    await Promise.all([this.#app.pause(), ...[...this.#streams].map((stream) => stream.close())]);
  }

  async resume(): Promise<void> {
    if (this.#isClosed) return;
    this.#isPaused = false;
    await Promise.all([this.#app.resume(), ...[...this.#streams].map((stream) => this.#reopen(stream))]);
  }

  async openStream(request: StreamSubscriptionRequest): Promise<{ close(): Promise<void> }> {
    const { pubsubName, topic } = request;
    if (pubsubName === "") throw errors.PUBSUB_NAME_EMPTY();
    if (topic === "") throw errors.PUBSUB_TOPIC_EMPTY(pubsubName);
    const { edges, limits } = this.#context;
    const target = new StreamTarget(request.deliver, edges.clock, limits.deliveryTimeoutMs);
    const stream = new Subscriber(this.#context, streamSubscription(request), target);
    this.#streams.add(stream);
    this.#opening.add(stream);
    try {
      if (!this.#isPaused) await stream.open();
    } catch (error) {
      this.#streams.delete(stream);
      throw error;
    } finally {
      this.#opening.delete(stream);
    }
    return {
      close: async () => {
        this.#streams.delete(stream);
        await stream.close(0);
      },
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isPaused = true;
    this.#stopListening();
    const streams = [...this.#streams];
    this.#streams.clear();
    const ended = [this.#app.close(), this.#outboxes.close()];
    await Promise.all([...ended, ...streams.map((stream) => stream.close())]);
  }

  async #componentChanged(change: ComponentChange): Promise<void> {
    if (this.#isClosed) return;
    if (change.kind === "state") await this.#outboxes.refresh();
    if (change.kind !== "pubsub") return;
    const streams = [...this.#streams].filter(({ subscription }) => subscription.pubsubName === change.name);
    await Promise.all([
      this.#app.componentChanged(change.name),
      ...streams.map(async (stream) => {
        await stream.close();
        if (change.action !== "removed") await this.#reopen(stream);
      }),
    ]);
    await this.#outboxes.refresh();
  }

  async #reopen(stream: Subscriber): Promise<void> {
    if (this.#isPaused || !this.#streams.has(stream)) return;
    try {
      await stream.open();
    } catch (error) {
      this.#context.log.error(
        { error, topic: stream.subscription.topic },
        "a stream could not subscribe again",
      );
    }
  }
}

/** Clients of a stream get everything on one path, which the metadata API shows as the root. */
function streamSubscription({
  pubsubName,
  topic,
  metadata,
  deadLetterTopic,
}: StreamSubscriptionRequest): Subscription {
  const rules = [{ match: "", path: "/" }];
  return { pubsubName, topic, metadata, rules, deadLetterTopic, bulk: undefined, type: "STREAMING" };
}

function activeSubscription(subscription: Subscription): ActiveSubscription {
  const { bulk: _, name: _name, ...shown } = subscription;
  return shown;
}
