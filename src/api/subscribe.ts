import { errors } from "../errors.ts";
import type {
  TopicEventResponse_TopicEventResponseStatus as Status,
  TopicEventRequest,
} from "../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type {
  SubscribeTopicEventsRequestAlpha1,
  SubscribeTopicEventsRequestInitialAlpha1,
} from "../wire/dapr/proto/runtime/v1/pubsub_pb.js";
import { streaming } from "./operation.ts";

type Request = SubscribeTopicEventsRequestAlpha1;

/**
 * A subscription over a stream that the app opened (dapr-api.md §6.9): events go out, their results come back by event
 * id. When the stream ends, what was not answered is given back to the broker.
 */
export const subscribeTopicEvents = streaming(Dapr.method.subscribeTopicEventsAlpha1, {
  name: "SubscribeTopicEventsAlpha1",
  group: { name: "subscribe", version: "v1.0-alpha1" },
  async handle(requests, send, { app, signal }) {
    const incoming = requests[Symbol.asyncIterator]();
    const { pubsubName, topic, metadata, deadLetterTopic } = await initialOf(incoming);
    const answers = new Answers();
    // No event may overtake the initial response.
    const opened = Promise.withResolvers<void>();
    const subscription = await app.pubsub.openStream({
      pubsubName,
      topic,
      metadata,
      deadLetterTopic: deadLetterTopic ?? "",
      deliver: (event, deliverySignal) =>
        answers.of(event, deliverySignal, async () => {
          await opened.promise;
          await send({ subscribeTopicEventsResponseType: { case: "eventMessage", value: event } });
        }),
    });
    try {
      await send({ subscribeTopicEventsResponseType: { case: "initialResponse", value: {} } });
      opened.resolve();
      await readAnswers(incoming, answers, signal);
    } finally {
      answers.giveUp();
      await subscription.close();
    }
  },
});

async function initialOf(
  incoming: AsyncIterator<Request>,
): Promise<SubscribeTopicEventsRequestInitialAlpha1> {
  const first = await incoming.next();
  const type = first.done ? undefined : first.value.subscribeTopicEventsRequestType;
  if (type?.case !== "initialRequest") throw errors.STREAM_REQUEST("initial request is required");
  const { pubsubName, topic } = type.value;
  if (pubsubName === "") throw errors.STREAM_REQUEST("pubsubName is required");
  if (topic === "") throw errors.STREAM_REQUEST("topic is required");
  return type.value;
}

async function readAnswers(
  incoming: AsyncIterator<Request>,
  answers: Answers,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const next = await incoming.next();
    if (next.done) return;
    const type = next.value.subscribeTopicEventsRequestType;
    if (type.case === "initialRequest") throw errors.STREAM_REQUEST("duplicate initial request received");
    if (type.case === "eventProcessed") answers.arrived(type.value.id, type.value.status?.status ?? 0);
  }
}

interface Waiting {
  resolve(status: Status): void;
  reject(error: Error): void;
}

/** Events sent and not yet answered. The engine bounds how many are in flight. */
class Answers {
  readonly #waiting = new Map<string, Waiting>();
  #isGivenUp = false;

  /** Sends an event and waits for its status; rejects when the stream or the delivery ends before. */
  of(event: TopicEventRequest, signal: AbortSignal, send: () => Promise<void>): Promise<Status> {
    if (this.#isGivenUp || signal.aborted) return Promise.reject(new Error("stream has ended"));
    const { id } = event;
    return new Promise<Status>((resolve, reject) => {
      const settle = (): void => {
        this.#waiting.delete(id);
        signal.removeEventListener("abort", aborted);
      };
      const waiting: Waiting = {
        resolve: (status) => {
          settle();
          resolve(status);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const aborted = (): void => waiting.reject(new Error("delivery was aborted", { cause: signal.reason }));
      // A redelivery under the same id takes the place of the one before, which goes back.
      this.#waiting.get(id)?.reject(new Error(`event ${id} was sent again`));
      this.#waiting.set(id, waiting);
      signal.addEventListener("abort", aborted, { once: true });
      send().catch(waiting.reject);
    });
  }

  arrived(id: string, status: Status): void {
    this.#waiting.get(id)?.resolve(status);
  }

  giveUp(): void {
    this.#isGivenUp = true;
    for (const waiting of [...this.#waiting.values()]) waiting.reject(new Error("stream has ended"));
  }
}
