import type { LoadedComponent } from "../../component/components.ts";
import type { IncomingMessage } from "../../component/pubsub.ts";
import { messageOf } from "../../kit/message-of.ts";
import { parseTraceparent } from "../../telemetry/propagation.ts";
import type { Span } from "../../telemetry/telemetry.ts";
import { CloudEvent } from "./cloud-event.ts";
import { isCloudEventType } from "./content-type.ts";
import type { PubSubContext } from "./context.ts";
import { wrapRaw } from "./envelope.ts";
import { IngressMeter } from "./meters.ts";
import { type Outcome, policyFailure } from "./outcome.ts";
import type { Router } from "./routes.ts";
import { StreamEnded } from "./stream-ended.ts";
import type { Subscription } from "./subscription.ts";
import type { DeliveryTarget } from "./target.ts";
import type { Topics } from "./topics.ts";

/** Thrown to the component: the message has to come again. */
export class Redelivery extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "Redelivery";
  }
}

/** A message that may go to the app. */
export interface Prepared {
  event: CloudEvent;
  topic: string;
  path: string;
}

/** A message that must not. Only what is malformed may come again. */
export interface Discard {
  why: "malformed" | "expired" | "unrouted" | "undecidable";
  detail: string;
}

export interface DeliveryParts {
  context: PubSubContext;
  subscription: Subscription;
  component: LoadedComponent<"pubsub">;
  topics: Topics;
  router: Router;
  target: DeliveryTarget;
  isRaw: boolean;
  lifetime: Lifetime;
}

/** How far the end of a subscription has come. */
export interface Lifetime {
  /** Nothing new starts, and a failure is no longer the message's fault: it goes back, never to the dead letters. */
  isClosing: boolean;
  /** Aborts when closing has waited long enough: what is in flight is given back. */
  readonly ended: AbortSignal;
}

/** Marks dead letters, so that an event which died of old age is not dropped again when somebody reads it. */
const deadLetterMark = "mecha-dead-letter-of";

/** Takes one message from the broker to the app and settles it (dapr-api.md §6.6 to §6.8). */
export class Delivery {
  readonly parts: DeliveryParts;
  readonly meter: IngressMeter;
  readonly #parsesAll: boolean;

  constructor(parts: DeliveryParts) {
    const { context, subscription, router, target } = parts;
    this.parts = parts;
    this.#parsesAll = router.readsEvent || target.readsEvent;
    const { telemetry, identity } = context;
    this.meter = new IngressMeter(telemetry.metrics, identity, subscription.pubsubName, subscription.topic);
  }

  /** Resolves to acknowledge, rejects to have the message back. */
  async handle(message: IncomingMessage): Promise<void> {
    const { context, subscription, lifetime } = this.parts;
    if (lifetime.isClosing) throw new Redelivery("the subscription is closing");
    const prepared = this.prepare(message);
    if ("why" in prepared) return this.discard(message, prepared);
    const span = this.startSpan(message, prepared);
    const outgoing = {
      ...prepared,
      pubsubName: subscription.pubsubName,
      metadata: message.metadata,
      trace: span.context,
    };
    const attempt = async (signal: AbortSignal): Promise<Outcome> => {
      const startMs = context.edges.clock.monotonicMs();
      const { target } = this.parts;
      const guard = context.guardOf(subscription);
      const outcome = await (guard === undefined
        ? target.deliver(outgoing, signal)
        : guard.deliver(outgoing.event, (effects) => target.deliver({ ...outgoing, effects }, signal)));
      this.#record(outcome, context.edges.clock.monotonicMs() - startMs);
      return outcome;
    };
    const outcome = await context.inbound(subscription, attempt, lifetime.ended).catch((error) => {
      if (!(error instanceof StreamEnded)) return policyFailure(error);
      span.end({ code: 2, message: error.message });
      throw error;
    });
    endSpan(span, outcome);
    if (outcome.kind !== "success") await this.settle(message, outcome);
  }

  /** Reads what has to be read of the message and chooses the route. */
  prepare(message: IncomingMessage): Prepared | Discard {
    const { topics, router, context } = this.parts;
    const topic = topics.fromBroker(message.topic);
    const event = this.#eventOf(message, topic);
    try {
      if (this.#parsesAll || !this.#isTrusted(message, event)) void event.attributes;
      const isExpired =
        message.expired || (!isDeadLetter(message) && event.hasExpired(context.edges.clock.now()));
      if (isExpired) return { why: "expired", detail: event.idForLog };
    } catch (error) {
      return { why: "malformed", detail: messageOf(error) };
    }
    try {
      const path = router.pathFor(event);
      return path === undefined ? { why: "unrouted", detail: event.idForLog } : { event, topic, path };
    } catch (error) {
      return { why: "undecidable", detail: messageOf(error) };
    }
  }

  async discard(message: IncomingMessage, { why, detail }: Discard): Promise<void> {
    const { context, subscription } = this.parts;
    const where = `in pubsub ${subscription.pubsubName} and topic ${subscription.topic}`;
    if (why === "expired") context.log.warn({}, `dropping expired pub/sub event ${detail} ${where}`);
    else if (why === "unrouted")
      context.log.debug({}, `no matching route for event ${detail} ${where}; skipping`);
    else if (why === "undecidable")
      context.log.error({}, `error finding matching route for event ${where}: ${detail}`);
    else context.log.error({}, `error deserializing cloud event ${where}: ${detail}`);
    if (subscription.deadLetterTopic !== "") await this.#deadLetter(message);
    else if (why === "malformed") {
      this.meter.record("retry", "", 0);
      throw new Redelivery(`error deserializing cloud event ${where}: ${detail}`);
    }
    this.meter.record("drop", why === "unrouted" ? "success" : "", 0);
  }

  /** What follows a delivery that was no success. */
  async settle(message: IncomingMessage, outcome: Exclude<Outcome, { kind: "success" }>): Promise<void> {
    const { context, subscription, lifetime } = this.parts;
    if (outcome.kind === "drop") {
      if (outcome.asked) context.log.warn({}, outcome.reason);
      else context.log.error({}, outcome.reason);
      if (subscription.deadLetterTopic !== "") await this.#deadLetter(message);
      return;
    }
    if (lifetime.isClosing) throw new Redelivery("the subscription is closing");
    if (outcome.isHeld) throw new Redelivery(outcome.reason);
    context.log.warn({}, outcome.reason);
    if (subscription.deadLetterTopic === "") throw new Redelivery(outcome.reason);
    await this.#deadLetter(message);
    this.meter.record("drop", "", 0);
  }

  startSpan(message: IncomingMessage, { event, topic }: Prepared): Span {
    const { metadata } = message;
    const parent =
      event.trace ?? parseTraceparent(metadata.traceparent ?? metadata.traceid, metadata.tracestate);
    const span = this.parts.context.telemetry.tracer.start(`pubsub/${topic}`, "consumer", parent);
    if (span.isRecorded) {
      span.set("messaging.system", "pubsub");
      span.set("messaging.destination.name", topic);
    }
    return span;
  }

  #eventOf(message: IncomingMessage, topic: string): CloudEvent {
    const { isRaw, subscription, context } = this.parts;
    if (!isRaw) return new CloudEvent(message.data);
    const { data, metadata } = message;
    const { pubsubName } = subscription;
    return new CloudEvent(wrapRaw({ data, topic, pubsubName, id: context.edges.random.uuid(), metadata }));
  }

  /** Envelopes that mecha wrote need no check; anything may stand in a payload published raw. */
  #isTrusted(message: IncomingMessage, event: CloudEvent): boolean {
    if (this.parts.isRaw) return true;
    const { contentType, metadata } = message;
    return metadata.rawPayload === undefined && isCloudEventType(contentType) && event.isOwn;
  }

  #record(outcome: Outcome, elapsedMs: number): void {
    const status = outcome.kind === "drop" && outcome.asked ? "success" : "";
    this.meter.record(outcome.kind, status, elapsedMs);
  }

  /** The bytes go on as they are; a time to live ended with the topic it was given for. */
  async #deadLetter(message: IncomingMessage): Promise<void> {
    const { component, topics, subscription, context } = this.parts;
    const { deadLetterTopic, topic } = subscription;
    const metadata: Record<string, string> = {};
    for (const name in message.metadata) {
      if (name.toLowerCase() !== "ttlinseconds") metadata[name] = message.metadata[name] ?? "";
    }
    if (!context.isStrict) metadata[deadLetterMark] = topic;
    try {
      if (!topics.canPublish(deadLetterTopic)) throw new Error(`topic ${deadLetterTopic} is not allowed`);
      const { data, contentType } = message;
      await component.instance.publish({
        topic: topics.toBroker(deadLetterTopic),
        data,
        contentType,
        metadata,
      });
    } catch (error) {
      const what = `error sending message to dead letter, origin topic: ${topic} dead letter topic ${deadLetterTopic}`;
      context.log.error({ error }, what);
      throw new Redelivery(`${what} err: ${messageOf(error)}`);
    }
  }
}

function isDeadLetter(message: IncomingMessage): boolean {
  return message.metadata[deadLetterMark] !== undefined;
}

/** OpenTelemetry's status codes: 0 unset, 2 error. */
export function endSpan(span: Span, outcome: Outcome): void {
  if (outcome.kind === "retry") span.end({ code: 2, message: outcome.reason });
  else span.end();
}
