import { fromBinary } from "@bufbuild/protobuf";
import type { AppChannel } from "../../app/channel.ts";
import { type Clock, sleep } from "../../edges/clock.ts";
import { Code } from "../../errors.ts";
import { looseMembers } from "../../kit/loose-members.ts";
import { GrpcError } from "../../net/grpc/types.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import {
  ListTopicSubscriptionsResponseSchema,
  type TopicSubscription,
} from "../../wire/dapr/proto/runtime/v1/appcallback_pb.js";
import { bulkLimits, orderedRoutes, type Route, type Subscription } from "./subscription.ts";

const listTopicSubscriptions = "/dapr.proto.runtime.v1.AppCallback/ListTopicSubscriptions";

/** How often, and after which pauses, an app that did not answer is asked again. */
export interface AskPlan {
  retries: number;
  pauseMs(attempt: number): number;
}

/** Dapr's DaprBuiltInInitializationRetries: exponential, three retries, within ten seconds. */
const builtInPlan: AskPlan = { retries: 3, pauseMs: (attempt) => 500 * 2 ** (attempt - 1) };
const answerBytesMax = 4 * 1024 * 1024;
const askTimeoutMs = 10_000;

export interface DiscoveryOptions {
  channel: AppChannel;
  appId: string;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
  /** In place of the built-in one. */
  plan?: AskPlan | undefined;
}

/** Asks the app which topics it wants. An app that does not answer, or answers nonsense, wants none. */
export async function discoverSubscriptions(options: DiscoveryOptions): Promise<Subscription[]> {
  const { clock, log, signal, plan = builtInPlan } = options;
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await (options.channel.protocol === "http" ? askHttp(options) : askGrpc(options));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (error instanceof InvalidList || attempt >= plan.retries) {
        log.error({}, `error getting topic list from app: ${why}`);
        return [];
      }
      await sleep(clock, plan.pauseMs(attempt + 1), signal);
    }
  }
  return [];
}

/** Asking again would bring the same. */
class InvalidList extends Error {}

async function askHttp({ channel, appId, log, signal }: DiscoveryOptions): Promise<Subscription[]> {
  const response = await channel.http({
    method: "GET",
    target: "/dapr/subscribe",
    headers: ["Content-Type", "application/json", "dapr-app-id", appId],
    signal,
    timeoutMs: askTimeoutMs,
  });
  const bytes = await response.body.bytes(answerBytesMax);
  if (response.status === 404) {
    log.debug({}, "user app did not subscribe to any topic");
    return [];
  }
  if (response.status !== 200) {
    const what = `app returned http status code ${response.status} from subscription endpoint`;
    if (response.status >= 500) throw new Error(what);
    throw new InvalidList(what);
  }
  return routed(parseList(bytes).map(httpSubscription), log);
}

function parseList(bytes: Uint8Array): Record<string, unknown>[] {
  let list: unknown;
  try {
    list = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    throw new InvalidList(`error getting topics from app: ${error instanceof Error ? error.message : error}`);
  }
  if (list === null) return [];
  const isList = Array.isArray(list) && list.every((one) => typeof one === "object" && one !== null);
  if (!isList) throw new InvalidList("error getting topics from app: not an array of subscriptions");
  return (list as Record<string, unknown>[]).map(looseMembers);
}

function httpSubscription(entry: Record<string, unknown>): Subscription {
  const routes = looseMembers(recordOf(entry.routes));
  const rules = (Array.isArray(routes.rules) ? routes.rules : []).map((rule): Route => {
    const { match, path } = looseMembers(recordOf(rule));
    return { match: textOf(match), path: textOf(path) };
  });
  const metadata = Object.entries(recordOf(entry.metadata)).map(([name, value]) => [name, String(value)]);
  return {
    pubsubName: textOf(entry.pubsubname ?? entry.pubsubName),
    topic: textOf(entry.topic),
    metadata: Object.fromEntries(metadata),
    rules: orderedRoutes(rules, textOf(routes.default) || textOf(entry.route)),
    deadLetterTopic: textOf(entry.deadLetterTopic),
    bulk: bulkLimits(looseMembers(recordOf(entry.bulkSubscribe))),
    type: "PROGRAMMATIC",
  };
}

async function askGrpc({ channel, log, signal }: DiscoveryOptions): Promise<Subscription[]> {
  const { grpc } = channel;
  if (grpc === undefined) return [];
  const options = { metadata: channel.grpcMetadata(undefined), timeoutMs: askTimeoutMs, signal };
  try {
    const reply = await channel.withSlot(
      () => grpc.unary(listTopicSubscriptions, new Uint8Array(0), options),
      signal,
    );
    const { subscriptions } = fromBinary(ListTopicSubscriptionsResponseSchema, reply);
    return subscriptions.map(grpcSubscription);
  } catch (error) {
    if (!(error instanceof GrpcError) || error.code !== Code.Unimplemented) throw error;
    log.info({}, "pubsub subscriptions: gRPC app does not implement ListTopicSubscriptions");
    return [];
  }
}

/** gRPC apps have one method for all events: no route means the empty path. */
function grpcSubscription(entry: TopicSubscription): Subscription {
  const rules = orderedRoutes(entry.routes?.rules ?? [], entry.routes?.default ?? "");
  return {
    pubsubName: entry.pubsubName,
    topic: entry.topic,
    metadata: entry.metadata,
    rules: rules.length === 0 ? [{ match: "", path: "" }] : rules,
    deadLetterTopic: entry.deadLetterTopic,
    bulk: bulkLimits(entry.bulkSubscribe),
    type: "PROGRAMMATIC",
  };
}

/** Without a route there is nowhere to deliver to. */
export function routed(subscriptions: readonly Subscription[], log: Log): Subscription[] {
  return subscriptions.filter(({ rules, topic }) => {
    const hasRoute = rules.length > 0;
    if (!hasRoute) log.warn({}, `topic ${topic} has an empty routes. removing from subscriptions list`);
    return hasRoute;
  });
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
