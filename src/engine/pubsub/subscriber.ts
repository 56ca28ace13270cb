import type { PubSubSubscription } from "../../component/pubsub.ts";
import { sleep } from "../../edges/clock.ts";
import { errors } from "../../errors.ts";
import { BulkDelivery } from "./bulk-delivery.ts";
import type { PubSubContext } from "./context.ts";
import { Delivery, type Lifetime } from "./delivery.ts";
import { metadataValue, rawPayloadOf } from "./publish-metadata.ts";
import { createRouter } from "./routes.ts";
import type { Subscription } from "./subscription.ts";
import type { DeliveryTarget } from "./target.ts";
import { Turns } from "./turns.ts";

/** Messages that wait in a bulk buffer while another bulk is on its way. */
const bulksInFlight = 2;
/** How long closing waits after it has aborted the calls to the app. */
const abortedGraceMs = 1_000;

interface Open {
  broker: PubSubSubscription;
  lifetime: Lifetime;
  end: AbortController;
  bulk: BulkDelivery | undefined;
}

/** One subscription at a component: opened, closed, opened again. */
export class Subscriber {
  readonly subscription: Subscription;
  readonly #context: PubSubContext;
  readonly #target: DeliveryTarget;
  readonly #turns = new Turns();
  #open: Open | undefined;

  constructor(context: PubSubContext, subscription: Subscription, target: DeliveryTarget) {
    this.#context = context;
    this.subscription = subscription;
    this.#target = target;
  }

  /** Starts to deliver. Throws Faults when the topic cannot be had, other errors when the broker fails. */
  open(): Promise<void> {
    return this.#turns.run(() => this.#openNow());
  }

  /** Stops inflow and waits for what is in flight; what takes longer than the grace is given back. */
  close(graceMs = this.#context.limits.closeGraceMs): Promise<void> {
    return this.#turns.run(() => this.#closeNow(graceMs));
  }

  async #openNow(): Promise<void> {
    if (this.#open !== undefined) return;
    const { pubsubName, topic, metadata, bulk: bulkLimits } = this.subscription;
    const { component, topics } = this.#component();
    const isRaw = rawPayloadOf(metadata);
    const router = await createRouter(this.subscription.rules);
    const end = new AbortController();
    const lifetime: Lifetime = { isClosing: false, ended: end.signal };
    const delivery = new Delivery({
      context: this.#context,
      subscription: this.subscription,
      component,
      topics,
      router,
      target: this.#target,
      isRaw,
      lifetime,
    });
    const deliverBulk = this.#target.deliverBulk?.bind(this.#target);
    const bulk = bulkLimits && deliverBulk && new BulkDelivery(delivery, deliverBulk, bulkLimits);
    const { concurrencyMax } = this.#context.limits;
    const broker = await component.instance.subscribe(
      {
        topic: topics.toBroker(topic),
        metadata,
        consumerGroup: metadataValue(metadata, "consumerID") || topics.consumerGroup,
        bulkMax: bulk && bulkLimits?.maxMessagesCount,
        concurrencyMax:
          this.#concurrency(component.properties, bulk && bulkLimits?.maxMessagesCount) ?? concurrencyMax,
      },
      (message) => (bulk ?? delivery).handle(message),
    );
    this.#open = { broker, lifetime, end, bulk };
    this.#context.log.debug({ pubsub: pubsubName, topic }, "subscribed");
  }

  async #closeNow(graceMs: number): Promise<void> {
    if (this.#open === undefined) return;
    const { broker, lifetime, end, bulk } = this.#open;
    this.#open = undefined;
    lifetime.isClosing = true;
    if (graceMs === 0) end.abort(new Error("the subscription is closing"));
    const closed = broker.close().catch((error) => {
      this.#context.log.warn({ error, topic: this.subscription.topic }, "closing a subscription failed");
    });
    bulk?.close();
    await this.#within(closed, graceMs);
    end.abort(new Error("the subscription is closing"));
    await this.#within(closed, abortedGraceMs);
  }

  #component() {
    const { pubsubName, topic } = this.subscription;
    const { components, identity } = this.#context;
    const component = components.find("pubsub", pubsubName);
    if (component === undefined) throw errors.PUBSUB_NOT_FOUND(pubsubName);
    const topics = this.#context.topicsOf(component);
    if (topics.canSubscribe(topic)) return { component, topics };
    throw errors.PUBSUB_FORBIDDEN(topic, identity.appId, {
      hint: `subscription to topic '${topic}' on pubsub '${pubsubName}' is not allowed`,
      resource: { type: "pubsub", name: pubsubName },
    });
  }

  /** Bulk needs room for full batches; `concurrencyMode: single` keeps strict order. */
  #concurrency(properties: ReadonlyMap<string, string>, bulkCount: number | undefined): number | undefined {
    if (bulkCount) return bulkCount * bulksInFlight;
    const mode = properties.get("concurrencymode") ?? properties.get("concurrency");
    return mode?.trim().toLowerCase() === "single" ? 1 : undefined;
  }

  async #within(work: Promise<void>, graceMs: number): Promise<void> {
    if (graceMs <= 0) return;
    const done = new AbortController();
    const late = sleep(this.#context.edges.clock, graceMs, done.signal);
    await Promise.race([work, late]);
    done.abort();
  }
}
