import type { PubSubSubscription } from "./pubsub.ts";

/** The subscriptions of a component that are open, to be closed with it. */
export class OpenSubscriptions {
  readonly #open = new Set<PubSubSubscription>();

  /** What the caller closes it by. */
  add(subscription: PubSubSubscription): PubSubSubscription {
    this.#open.add(subscription);
    return {
      close: async () => {
        await subscription.close();
        this.#open.delete(subscription);
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((subscription) => subscription.close()));
  }
}
