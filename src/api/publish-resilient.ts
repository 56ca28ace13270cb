import { randomUUID } from "node:crypto";
import { isCloudEventType } from "../engine/pubsub/content-type.ts";
import type { BulkPublishRequest, PublishRequest } from "../engine/pubsub/engine.ts";
import { errors, Fault } from "../errors.ts";
import type { RunOptions } from "../policy/resilience/policy.ts";
import type { Call } from "./call.ts";
import { resilienceOf } from "./resilience.ts";

type Failed = { entryId: string; error: string }[];

/** Publishes inside the outbound policies of the component, if there are any. */
export function publishOne(call: Call, request: PublishRequest): Promise<void> {
  const { pubsub } = call.app;
  const { pubsubName } = request;
  const policy = resilienceOf(call.app)?.component("pubsub", pubsubName, "outbound");
  if (policy === undefined) return pubsub.publish(request);
  // An event that is sent again is the same event.
  const same = policy.hasRetries ? withId(request) : request;
  return named(
    request,
    policy.run(() => pubsub.publish(same), optionsOf(call)),
  );
}

/** Tries again only the entries that failed. */
export function publishMany(call: Call, request: BulkPublishRequest): Promise<Failed> {
  const { pubsub } = call.app;
  const policy = resilienceOf(call.app)?.component("pubsub", request.pubsubName, "outbound");
  if (policy === undefined) return pubsub.bulkPublish(request);
  let left = policy.hasRetries ? request.entries.map((entry) => withId(entry)) : request.entries;
  const attempt = async (): Promise<Failed> => {
    const failed = await pubsub.bulkPublish({ ...request, entries: left });
    const ids = new Set(failed.map(({ entryId }) => entryId));
    left = left.filter(({ entryId }) => ids.has(entryId));
    return failed;
  };
  const codeOf = (failed: Failed) => (failed.length > 0 ? ({ unknown: true } as const) : undefined);
  return named(request, policy.run(attempt, { ...optionsOf<Failed>(call), codeOf }));
}

function optionsOf<T>({ signal }: Call): RunOptions<T> {
  // Everything but the broker's own failure is the publisher's mistake.
  const isPermanent = (error: unknown) =>
    error instanceof Fault && error.reason !== errors.PUBSUB_PUBLISH.reason;
  return { signal, isPermanent };
}

function withId<E extends { contentType: string; metadata: Record<string, string> }>(event: E): E {
  const { metadata, contentType } = event;
  const hasOwn = metadata["cloudevent.id"] !== undefined || isCloudEventType(contentType);
  if (hasOwn || metadata.rawPayload !== undefined) return event;
  return { ...event, metadata: { ...metadata, "cloudevent.id": randomUUID() } };
}

/** An open breaker and a timeout are failures to publish, in the words of the catalogue. */
async function named<T>(request: { topic: string; pubsubName: string }, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Fault) throw error;
    const { topic, pubsubName } = request;
    const why = (error as Error).message;
    throw errors.PUBSUB_PUBLISH(topic, pubsubName, why, {
      cause: error,
      metadata: { topic, error: why },
      resource: { type: "pubsub", name: pubsubName },
    });
  }
}
