import type { IncomingMessage } from "../../component/pubsub.ts";
import type { ClockTimer } from "../../edges/clock.ts";
import { binaryType, cloudEventType } from "./content-type.ts";
import { type Delivery, endSpan, type Prepared, Redelivery } from "./delivery.ts";
import { type Outcome, policyFailure, success } from "./outcome.ts";
import type { BulkLimits } from "./subscription.ts";
import type { BulkEntry, DeliveryTarget } from "./target.ts";

interface Waiting {
  message: IncomingMessage;
  prepared: Prepared;
  settle: () => void;
  giveBack: (error: unknown) => void;
}

/** Collects messages and hands them to the app together (dapr-api.md §6.10); each one is settled by itself. */
export class BulkDelivery {
  readonly #delivery: Delivery;
  readonly #deliverBulk: NonNullable<DeliveryTarget["deliverBulk"]>;
  readonly #limits: BulkLimits;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #timer: ClockTimer | undefined;
  #isClosing = false;

  constructor(
    delivery: Delivery,
    deliverBulk: NonNullable<DeliveryTarget["deliverBulk"]>,
    limits: BulkLimits,
  ) {
    this.#delivery = delivery;
    this.#deliverBulk = deliverBulk;
    this.#limits = limits;
  }

  async handle(message: IncomingMessage): Promise<void> {
    if (this.#isClosing) throw new Redelivery("the subscription is closing");
    const prepared = this.#delivery.prepare(message);
    if ("why" in prepared) return this.#delivery.discard(message, prepared);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ message, prepared, settle: resolve, giveBack: reject });
    this.#waitingBytes += prepared.event.bytes.length;
    this.#flushOrWait();
    return promise;
  }

  /** Sends what waits: closing must not wait for a full batch. */
  close(): void {
    this.#isClosing = true;
    this.#flush();
  }

  #flushOrWait(): void {
    const { context } = this.#delivery.parts;
    const isFull =
      this.#waiting.length >= this.#limits.maxMessagesCount ||
      this.#waitingBytes >= context.limits.bulkBytesMax;
    if (isFull) this.#flush();
    else this.#timer ??= context.edges.clock.setTimer(this.#limits.maxAwaitDurationMs, () => this.#flush());
  }

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const byPath = Map.groupBy(batch, ({ prepared }) => prepared.path);
    for (const [path, group] of byPath) {
      this.#send(path, group).catch((error) => {
        for (const one of group) one.giveBack(error);
      });
    }
  }

  async #send(path: string, group: Waiting[]): Promise<void> {
    const { context, subscription, lifetime, isRaw } = this.#delivery.parts;
    const entries = new Map(group.map((one) => [this.#entryOf(one), one]));
    const outcomes = new Map<BulkEntry, Outcome>();
    const first = group[0] as Waiting;
    const address = { topic: first.prepared.topic, pubsubName: subscription.pubsubName, path, isRaw };
    let open = [...entries.keys()];
    let attempts = 0;
    const attempt = async (signal: AbortSignal): Promise<Outcome> => {
      const number = ++attempts;
      const startMs = context.edges.clock.monotonicMs();
      const hand = (some: BulkEntry[]) => this.#deliverBulk({ entries: some, ...address }, signal);
      const guard = context.guardOf(subscription);
      const results = await (guard === undefined ? hand(open) : guard.deliverBulk(open, hand));
      this.#record(results, context.edges.clock.monotonicMs() - startMs);
      // An attempt that its policy has given up on must not overwrite what a later one brought.
      if (number !== attempts) return success;
      for (const [index, entry] of open.entries()) outcomes.set(entry, results[index] ?? success);
      open = open.filter((entry) => outcomes.get(entry)?.kind === "retry");
      return (open[0] && outcomes.get(open[0])) ?? success;
    };
    const { pubsubName, topic } = subscription;
    const from = { pubsubName, topic, count: group.length };
    const last = await context.inbound(from, attempt, lifetime.ended).catch(policyFailure);
    await Promise.all([...entries].map(([entry, one]) => this.#settle(one, outcomes.get(entry) ?? last)));
  }

  async #settle(one: Waiting, outcome: Outcome): Promise<void> {
    const span = this.#delivery.startSpan(one.message, one.prepared);
    endSpan(span, outcome);
    try {
      if (outcome.kind !== "success") await this.#delivery.settle(one.message, outcome);
      one.settle();
    } catch (error) {
      one.giveBack(error instanceof Redelivery ? error : new Redelivery(String(error)));
    }
  }

  #entryOf({ message, prepared }: Waiting): BulkEntry {
    const { isRaw, context } = this.#delivery.parts;
    return {
      entryId: context.edges.random.uuid(),
      bytes: isRaw ? message.data : prepared.event.bytes,
      event: prepared.event,
      contentType: message.contentType || (isRaw ? binaryType : cloudEventType),
      metadata: message.metadata,
    };
  }

  #record(results: readonly Outcome[], elapsedMs: number): void {
    const { meter } = this.#delivery;
    meter.recordBulk(elapsedMs);
    for (const kind of ["success", "retry", "drop"] as const) {
      const count = results.filter((outcome) => outcome.kind === kind).length;
      if (count > 0) meter.recordBulkEvents(kind, count);
    }
  }
}
