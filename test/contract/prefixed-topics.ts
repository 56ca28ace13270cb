import type { PubSub } from "../../src/component/pubsub.ts";

/** The topics of the contract have the same names in every test: on the broker each test has its own. */
export function prefixedTopics(pubsub: PubSub, prefix: string): PubSub {
  const { bulkPublish } = pubsub;
  return {
    features: pubsub.features,
    publish: (message) => pubsub.publish({ ...message, topic: prefix + message.topic }),
    ...(bulkPublish && {
      bulkPublish: (topic, entries) => bulkPublish.call(pubsub, prefix + topic, entries),
    }),
    subscribe: (request, handler) =>
      pubsub.subscribe({ ...request, topic: prefix + request.topic }, (message) =>
        handler({ ...message, topic: message.topic.slice(prefix.length) }),
      ),
    close: () => pubsub.close(),
  };
}
