import { randomUUID } from "node:crypto";
import { isCloudEventType } from "../engine/pubsub/content-type.ts";
import type { BulkPublishRequest, PublishRequest } from "../engine/pubsub/engine.ts";
import { errors, Fault } from "../errors.ts";
import type { Shape, Use } from "../policy/use/layer.ts";
import { runPlaced } from "../policy/use/use-policies.ts";
import type { Call } from "./call.ts";
import { resilienceOf } from "./resilience.ts";
import { throwAnswer } from "./target.ts";

type Failed = { entryId: string; error: string }[];

/** Publishes inside the outbound policies of the component, if there are any. */
export function publishOne(call: Call, request: PublishRequest): Promise<void> {
  const { pubsub } = call.app;
  const { pubsubName } = request;
  const policies = policiesOf(call, pubsubName);
  if (policies === undefined) return pubsub.publish(request);
  // An event that is sent again is the same event.
  const same = policies.isRepeated ? withId(request) : request;
  const work = () => pubsub.publish(same);
  return named(request, runPlaced(policies, useOf(call, "publish", request.topic), work, shapeOf(call)));
}

/** Tries again only the entries that failed. */
export function publishMany(call: Call, request: BulkPublishRequest): Promise<Failed> {
  const { pubsub } = call.app;
  const policies = policiesOf(call, request.pubsubName);
  if (policies === undefined) return pubsub.bulkPublish(request);
  let left = policies.isRepeated ? request.entries.map((entry) => withId(entry)) : request.entries;
  const attempt = async (): Promise<Failed> => {
    const failed = await pubsub.bulkPublish({ ...request, entries: left });
    const ids = new Set(failed.map(({ entryId }) => entryId));
    left = left.filter(({ entryId }) => ids.has(entryId));
    return failed;
  };
  const codeOf = (failed: Failed) => (failed.length > 0 ? ({ unknown: true } as const) : undefined);
  const use = { ...useOf(call, "bulk_publish", request.topic), count: request.entries.length };
  return named(request, runPlaced(policies, use, attempt, { ...shapeOf<Failed>(call), codeOf }));
}

function policiesOf({ app }: Call, pubsubName: string) {
  const resilience = resilienceOf(app)?.component("pubsub", pubsubName, "outbound");
  const placed = app.policies.at("publish", pubsubName);
  if (resilience === undefined && placed === undefined) return undefined;
  return { resilience, placed, isRepeated: (resilience?.hasRetries || placed?.repeats) ?? false };
}

function useOf(call: Call, operation: string, topic: string): Use {
  return { operation, names: [topic], header: (lowerName) => call.header(lowerName) };
}

function shapeOf<T>(call: Call): Shape<T> {
  const { signal } = call;
  // Everything but the broker's own failure, and a policy's that stands for it, is the publisher's mistake.
  const mendable: string[] = [errors.PUBSUB_PUBLISH.reason, errors.POLICY.reason];
  const isPermanent = (error: unknown) => error instanceof Fault && !mendable.includes(error.reason);
  return { signal, canOverlap: false, isPermanent, answer: (given) => throwAnswer(call, given) };
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
