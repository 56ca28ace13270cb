import type { ComponentKind } from "./component.ts";
import { choice, type Fields, flag, list, several, text } from "./fields.ts";

/**
 * Fields that every component of a kind takes because the layer above reads them, not the component: they are known
 * to the loader and to the reference pages, and reach that layer through `LoadedComponent.properties`.
 */
export const commonFields: Record<ComponentKind, Fields> = {
  state: {
    keyPrefix: text({ description: "appid, name, namespace, none, or a text put before each key" }),
    actorStateStore: flag({ description: "the store of actors and workflows" }),
    primaryEncryptionKey: text({
      description: "AES key in hex: values are encrypted with it",
      sensitive: true,
    }),
    secondaryEncryptionKey: text({
      description: "an older AES key in hex, still used to decrypt",
      sensitive: true,
    }),
    outboxPublishPubsub: text({ description: "pub/sub component that transactions publish to" }),
    outboxPublishTopic: text({ description: "topic that transactions publish to" }),
    outboxPubsub: text({
      description: "pub/sub component where events wait for their commit; by default outboxPublishPubsub",
    }),
    outboxDiscardWhenMissingState: flag({
      description:
        "drop an event whose state is not committed after ten seconds; else for an hour it is tried again",
      default: false,
    }),
  },
  pubsub: {
    consumerID: text({ description: "consumer group; by default the app id" }),
    allowedTopics: list({ description: "the only topics that exist for apps; empty: all" }),
    publishingScopes: text({ description: "app1=topic1,topic2;app2= : what each app may publish to" }),
    subscriptionScopes: text({ description: "app1=topic1;app2= : what each app may subscribe to" }),
    protectedTopics: list({ description: "topics that need an explicit scope" }),
    concurrencyMode: choice(["parallel", "single"], {
      description: "single: one message at a time per subscription, in order",
    }),
    concurrency: choice(["parallel", "single"], { description: "an older name of concurrencyMode" }),
  },
  secretstores: {},
  configuration: {},
  lock: { keyPrefix: text({ description: "appid, name, namespace, none, or a text put before each lock" }) },
  crypto: {},
  conversation: {},
  bindings: {
    direction: several(["input", "output"], { description: "which of the two the app uses" }),
    route: text({ description: "path of the app that gets the events; by default the component's name" }),
  },
  middleware: {},
  nameresolution: {},
};
