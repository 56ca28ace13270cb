import type { Problem } from "../../resource/problem.ts";
import type { SubscriptionResource } from "../../resource/resource.ts";
import { type Rule, warning } from "./rule.ts";

/** A dead letter that nobody reads is a message lost politely. */
export const unreadDeadLetters: Rule = ({ set }) => {
  const read = new Set(set.subscriptions.map(({ spec }) => topicOf(spec.pubsubname, spec.topic)));
  return set.subscriptions.flatMap((subscription): Problem[] => {
    const { pubsubname, deadLetterTopic } = subscription.spec;
    if (deadLetterTopic === "" || read.has(topicOf(pubsubname, deadLetterTopic))) return [];
    const message = `no Subscription here reads the dead letter topic ${deadLetterTopic} of ${pubsubname}`;
    return [warning(subscription, ["spec", "deadLetterTopic"], message)];
  });
};

/** Dead letters that come back to where they failed go round for ever. */
export const deadLetterLoops: Rule = ({ set }) => {
  const next = new Map<string, string>();
  for (const { spec } of set.subscriptions) {
    if (spec.deadLetterTopic === "") continue;
    next.set(topicOf(spec.pubsubname, spec.topic), topicOf(spec.pubsubname, spec.deadLetterTopic));
  }
  return set.subscriptions.flatMap((subscription): Problem[] => {
    const start = topicOf(subscription.spec.pubsubname, subscription.spec.topic);
    const seen = new Set([start]);
    for (let at = next.get(start); at !== undefined && !seen.has(at); at = next.get(at)) {
      seen.add(at);
      if (next.get(at) === start) return [loop(subscription, [...seen])];
    }
    return next.get(start) === start ? [loop(subscription, [start])] : [];
  });
};

function loop(subscription: SubscriptionResource, topics: string[]): Problem {
  const round = [...topics, topics[0]].join(" → ");
  return warning(subscription, ["spec", "deadLetterTopic"], `dead letters go round: ${round}`);
}

function topicOf(pubsub: string, topic: string): string {
  return `${pubsub}/${topic}`;
}
