import { isDeepStrictEqual } from "node:util";
import type { SubscriptionResource } from "../../resource/resource.ts";

/** One wish for messages, wherever it was declared. */
export interface Subscription {
  /** Of its resource. */
  name?: string;
  pubsubName: string;
  topic: string;
  metadata: Record<string, string>;
  /** In the order they are tried; an empty match is always true. */
  rules: Route[];
  deadLetterTopic: string;
  bulk: BulkLimits | undefined;
  type: "DECLARATIVE" | "PROGRAMMATIC" | "STREAMING";
}

export interface Route {
  match: string;
  path: string;
}

export interface BulkLimits {
  maxMessagesCount: number;
  maxAwaitDurationMs: number;
}

const defaultCount = 100;
const defaultAwaitMs = 1000;
const countMax = 10_000;
const awaitMaxMs = 600_000;

/** Dapr's defaults where the app gave nothing, and a ceiling where it gave too much. */
export function bulkLimits(
  wish: { enabled?: unknown; maxMessagesCount?: unknown; maxAwaitDurationMs?: unknown } | null | undefined,
): BulkLimits | undefined {
  if (wish?.enabled !== true) return undefined;
  return {
    maxMessagesCount: Math.min(positive(wish.maxMessagesCount) ?? defaultCount, countMax),
    maxAwaitDurationMs: Math.min(positive(wish.maxAwaitDurationMs) ?? defaultAwaitMs, awaitMaxMs),
  };
}

function positive(value: unknown): number | undefined {
  return typeof value === "number" && value > 0 ? Math.ceil(value) : undefined;
}

/** A rule without match is the default, and the default comes last. */
export function orderedRoutes(rules: readonly Route[], defaultPath: string): Route[] {
  const trimmed = rules.map((rule) => ({ match: rule.match.trim(), path: rule.path }));
  const ordered = trimmed.filter((rule) => rule.match !== "");
  ordered.push(...trimmed.filter((rule) => rule.match === ""));
  if (defaultPath !== "") ordered.push({ match: "", path: defaultPath });
  return ordered;
}

export function declaredSubscription(resource: SubscriptionResource): Subscription {
  const { spec } = resource;
  return {
    name: resource.name,
    pubsubName: spec.pubsubname,
    topic: spec.topic,
    metadata: spec.metadata,
    rules: orderedRoutes(spec.rules, spec.defaultPath),
    deadLetterTopic: spec.deadLetterTopic,
    bulk: bulkLimits(spec.bulkSubscribe),
    type: "DECLARATIVE",
  };
}

/**
 * One subscription per topic (dapr-api.md §6.5): the first declared holds the slot, one that the app itself asks for
 * takes it over.
 */
export function mergeSubscriptions(
  declared: readonly Subscription[],
  programmatic: readonly Subscription[],
): Subscription[] {
  const slots = new Map<string, Subscription>();
  for (const one of declared) if (!slots.has(slotOf(one))) slots.set(slotOf(one), one);
  for (const one of programmatic) slots.set(slotOf(one), one);
  return [...slots.values()];
}

export function slotOf(subscription: Subscription): string {
  return `${subscription.pubsubName}\n${subscription.topic}`;
}

/** The order after a reload: what did not change keeps its place, what is new or changed moves to the end. */
export function orderReloaded(
  previous: readonly SubscriptionResource[],
  next: readonly SubscriptionResource[],
): SubscriptionResource[] {
  const byName = new Map(next.map((resource) => [resource.name, resource]));
  const kept = previous.filter((old) => isSame(old, byName.get(old.name)));
  const keptNames = new Set(kept.map((resource) => resource.name));
  return [...kept, ...next.filter((resource) => !keptNames.has(resource.name))];
}

function isSame(old: SubscriptionResource, now: SubscriptionResource | undefined): boolean {
  return (
    now !== undefined && isDeepStrictEqual(old.spec, now.spec) && isDeepStrictEqual(old.scopes, now.scopes)
  );
}
