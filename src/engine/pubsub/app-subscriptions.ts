import { isDeepStrictEqual } from "node:util";
import type { AppChannel } from "../../app/channel.ts";
import type { ClockTimer } from "../../edges/clock.ts";
import { Fault } from "../../errors.ts";
import type { SubscriptionResource } from "../../resource/resource.ts";
import type { PubSubContext } from "./context.ts";
import { type AskPlan, discoverSubscriptions, routed } from "./discovery.ts";
import { GrpcTarget } from "./grpc-target.ts";
import { HttpTarget } from "./http-target.ts";
import { InvalidRawPayload } from "./publish-metadata.ts";
import { InvalidRoute } from "./routes.ts";
import { Subscriber } from "./subscriber.ts";
import {
  declaredSubscription,
  mergeSubscriptions,
  orderReloaded,
  type Subscription,
  slotOf,
} from "./subscription.ts";
import type { DeliveryTarget } from "./target.ts";
import { Turns } from "./turns.ts";

export interface AppSubscriptionsOptions {
  channel: AppChannel | undefined;
  declarative: () => readonly SubscriptionResource[];
  discovers?: boolean;
  askPlan?: () => AskPlan | undefined;
}

const firstRetryMs = 500;
const retryMaxMs = 30_000;

/**
 * Keeps what is open equal to what the app should receive: declared and asked-for subscriptions while it runs, is
 * healthy and is not paused, none otherwise. Every change sets a wish and then reconciles, one after the other.
 */
export class AppSubscriptions {
  readonly #context: PubSubContext;
  readonly #options: AppSubscriptionsOptions;
  readonly #target: DeliveryTarget | undefined;
  readonly #turns = new Turns();
  readonly #end = new AbortController();
  readonly #open = new Map<string, Subscriber>();
  /** What cannot be had until its component or its declaration changes. */
  readonly #refused = new Set<Subscription>();
  #resources: SubscriptionResource[] = [];
  #declared: Subscription[] = [];
  #programmatic: Subscription[] = [];
  #isStarted = false;
  #isDiscovered = false;
  #isPaused = false;
  #retries = 0;
  #retry: ClockTimer | undefined;
  #stopHealth: (() => void) | undefined;

  constructor(context: PubSubContext, options: AppSubscriptionsOptions) {
    this.#context = context;
    this.#options = options;
    this.#target = targetOf(options.channel, context);
    this.#isDiscovered = options.discovers === false;
  }

  subscriptions(): Subscription[] {
    return mergeSubscriptions(this.#declared, this.#programmatic);
  }

  async start(): Promise<void> {
    if (this.#isStarted || this.#end.signal.aborted) return;
    this.#isStarted = true;
    this.#readDeclared();
    this.#stopHealth = this.#options.channel?.onHealthChange(() => this.#reconcileSoon());
    await this.#reconcile();
  }

  async reload(): Promise<void> {
    this.#readDeclared();
    this.#refused.clear();
    await this.#reconcile();
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#reconcile();
  }

  async resume(): Promise<void> {
    this.#isPaused = false;
    await this.#reconcile();
  }

  /** A component was added, replaced or removed: what hangs on it is opened anew. */
  async componentChanged(name: string): Promise<void> {
    await this.#turns.run(async () => {
      for (const refused of this.#refused) if (refused.pubsubName === name) this.#refused.delete(refused);
      await this.#closeWhere(({ pubsubName }) => pubsubName === name);
    });
    await this.#reconcile();
  }

  async close(): Promise<void> {
    this.#end.abort();
    this.#stopHealth?.();
    await this.#reconcile();
  }

  #readDeclared(): void {
    const { appId } = this.#context.identity;
    const visible = this.#options
      .declarative()
      .filter(({ scopes }) => scopes.length === 0 || scopes.includes(appId));
    this.#resources = orderReloaded(this.#resources, visible);
    this.#declared = routed(this.#resources.map(declaredSubscription), this.#context.log);
  }

  #reconcile(): Promise<void> {
    return this.#turns.run(async () => {
      this.#retry?.cancel();
      const { channel } = this.#options;
      const isWanted =
        this.#isStarted && !this.#isPaused && !this.#end.signal.aborted && (channel?.isHealthy ?? false);
      if (!isWanted) return this.#closeWhere(() => true);
      await this.#discover();
      const wanted = new Map(this.subscriptions().map((one) => [slotOf(one), one]));
      await this.#closeWhere((open) => !isDeepStrictEqual(open, wanted.get(slotOf(open))));
      await this.#openMissing([...wanted.values()]);
    });
  }

  #reconcileSoon(): void {
    this.#reconcile().catch((error) =>
      this.#context.log.error({ error }, "subscriptions could not be changed"),
    );
  }

  async #discover(): Promise<void> {
    const { channel, askPlan } = this.#options;
    const { components, identity, edges, log } = this.#context;
    if (this.#isDiscovered || channel === undefined || components.list("pubsub").length === 0) return;
    const { signal } = this.#end;
    const { appId } = identity;
    const asking = { channel, appId, clock: edges.clock, log, signal, plan: askPlan?.() };
    this.#programmatic = await discoverSubscriptions(asking);
    this.#isDiscovered = true;
  }

  async #closeWhere(isMeant: (subscription: Subscription) => boolean): Promise<void> {
    const meant = [...this.#open.values()].filter(({ subscription }) => isMeant(subscription));
    for (const { subscription } of meant) this.#open.delete(slotOf(subscription));
    await Promise.all(meant.map((subscriber) => subscriber.close()));
  }

  async #openMissing(wanted: readonly Subscription[]): Promise<void> {
    const missing = wanted.filter((one) => !this.#open.has(slotOf(one)) && !this.#isRefused(one));
    const results = await Promise.all(missing.map((subscription) => this.#openOne(subscription)));
    const opened = missing.filter((_, index) => results[index] === "open");
    for (const [name, group] of Map.groupBy(opened, ({ pubsubName }) => pubsubName)) {
      const topics = group.map(({ topic }) => topic).join(" ");
      this.#context.log.info(
        {},
        `app is subscribed to the following topics: [${topics}] through pubsub=${name}`,
      );
    }
    if (results.includes("failed")) this.#retryLater();
    else this.#retries = 0;
  }

  async #openOne(subscription: Subscription): Promise<"open" | "refused" | "failed"> {
    const { log } = this.#context;
    if (this.#target === undefined) return "refused";
    const subscriber = new Subscriber(this.#context, subscription, this.#target);
    try {
      await subscriber.open();
    } catch (error) {
      const { topic, pubsubName } = subscription;
      const why =
        error instanceof Fault && error.hint ? error.hint : error instanceof Error ? error.message : error;
      log.error({}, `failed to subscribe to topic ${topic} in pubsub ${pubsubName}: ${String(why)}`);
      const isFinal =
        error instanceof Fault || error instanceof InvalidRoute || error instanceof InvalidRawPayload;
      if (isFinal) this.#refused.add(subscription);
      return isFinal ? "refused" : "failed";
    }
    this.#open.set(slotOf(subscription), subscriber);
    return "open";
  }

  #isRefused(subscription: Subscription): boolean {
    for (const refused of this.#refused) if (isDeepStrictEqual(refused, subscription)) return true;
    return false;
  }

  #retryLater(): void {
    const pauseMs = Math.min(firstRetryMs * 2 ** this.#retries++, retryMaxMs);
    this.#retry = this.#context.edges.clock.setTimer(pauseMs, () => this.#reconcileSoon(), {
      background: true,
    });
  }
}

function targetOf(channel: AppChannel | undefined, context: PubSubContext): DeliveryTarget | undefined {
  if (channel === undefined) return undefined;
  const { deliveryTimeoutMs } = context.limits;
  const newId = (): string => context.edges.random.uuid();
  if (channel.protocol === "http") return new HttpTarget(channel, deliveryTimeoutMs, newId);
  return channel.grpc && new GrpcTarget(channel, channel.grpc, deliveryTimeoutMs, newId);
}
