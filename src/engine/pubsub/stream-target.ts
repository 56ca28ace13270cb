import type { Clock } from "../../edges/clock.ts";
import type { StreamSubscriptionRequest } from "./engine.ts";
import { outcomeOfStatus } from "./grpc-target.ts";
import type { Outcome } from "./outcome.ts";
import { StreamEnded } from "./stream-ended.ts";
import type { DeliveryTarget, OutgoingEvent } from "./target.ts";
import { topicEvent } from "./topic-event.ts";

/** Delivers to a client that opened a subscription stream; the client answers in its own time, within a bound. */
export class StreamTarget implements DeliveryTarget {
  readonly readsEvent = true;
  readonly #deliver: StreamSubscriptionRequest["deliver"];
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  constructor(deliver: StreamSubscriptionRequest["deliver"], clock: Clock, timeoutMs: number) {
    this.#deliver = deliver;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  async deliver(outgoing: OutgoingEvent, closing: AbortSignal): Promise<Outcome> {
    const { event, topic, pubsubName, path } = outgoing;
    const call = new AbortController();
    const abort = (): void => call.abort(closing.reason);
    closing.addEventListener("abort", abort, { once: true });
    if (closing.aborted) abort();
    let isLate = false;
    const timer = this.#clock.setTimer(this.#timeoutMs, () => {
      isLate = true;
      call.abort(new Error("no answer in time"));
    });
    try {
      const status = await this.#deliver(topicEvent(event, { topic, pubsubName, path }), call.signal);
      return outcomeOfStatus(status, event.idForLog);
    } catch (error) {
      if (!isLate) throw new StreamEnded(event.idForLog, error);
      return { kind: "retry", reason: `no answer in time while processing pub/sub event ${event.idForLog}` };
    } finally {
      timer.cancel();
      closing.removeEventListener("abort", abort);
    }
  }
}
