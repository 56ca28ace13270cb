import { describe, expect, test } from "bun:test";
import type { SubscriptionResource } from "../../resource/resource.ts";
import { subscriptionTo } from "./fixture-parts.ts";
import { bulkLimits, mergeSubscriptions, orderReloaded } from "./subscription.ts";

function resource(name: string, topic: string): SubscriptionResource {
  const source = { file: "f", line: 1, column: 1 };
  return {
    apiVersion: "dapr.io/v2alpha1",
    kind: "Subscription",
    name,
    namespace: "default",
    scopes: [],
    spec: {
      pubsubname: "bus",
      topic,
      rules: [],
      defaultPath: "/x",
      metadata: {},
      deadLetterTopic: "",
      bulkSubscribe: undefined,
    },
    source,
    at: () => source,
  };
}

describe("mergeSubscriptions()", () => {
  test("the first declared holds the slot, the app's own wish takes it over", () => {
    const first = subscriptionTo("a", { deadLetterTopic: "first" });
    const second = subscriptionTo("a", { deadLetterTopic: "second" });
    const other = subscriptionTo("b");
    const own = subscriptionTo("b", { type: "PROGRAMMATIC" });
    const more = subscriptionTo("c", { type: "PROGRAMMATIC" });
    expect(mergeSubscriptions([first, second, other], [own, more])).toEqual([first, own, more]);
  });
});

describe("orderReloaded()", () => {
  test("moves what changed to the end", () => {
    const [a, b, c] = [resource("a", "1"), resource("b", "2"), resource("c", "3")];
    const changed = resource("a", "9");
    expect(orderReloaded([a, b, c], [changed, b, c])).toEqual([b, c, changed]);
    expect(orderReloaded([b, c, changed], [changed, b, c])).toEqual([b, c, changed]);
    expect(orderReloaded([a, b], [b])).toEqual([b]);
  });
});

describe("bulkLimits()", () => {
  test("gives Dapr's defaults and a ceiling", () => {
    expect(bulkLimits(undefined)).toBeUndefined();
    expect(bulkLimits({ enabled: false, maxMessagesCount: 5 })).toBeUndefined();
    expect(bulkLimits({ enabled: true })).toEqual({ maxMessagesCount: 100, maxAwaitDurationMs: 1000 });
    expect(bulkLimits({ enabled: true, maxMessagesCount: 0, maxAwaitDurationMs: -1 })).toEqual({
      maxMessagesCount: 100,
      maxAwaitDurationMs: 1000,
    });
    expect(bulkLimits({ enabled: true, maxMessagesCount: 1e9 })?.maxMessagesCount).toBe(10_000);
  });
});
