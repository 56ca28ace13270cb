import type { Log } from "../../telemetry/telemetry.ts";
import {
  type Delivery,
  type DeliveryToken,
  type Mutation,
  type Store,
  StoreConflict,
} from "../store/store.ts";

interface Ack {
  delivery: DeliveryToken;
  resolve: () => void;
}

/** Acknowledges in batches: one commit at a time, and what comes meanwhile goes into the next. */
export class AckBatch {
  readonly #store: Store;
  readonly #log: Log;
  #next: Ack[] = [];
  #committing: Promise<void> | undefined;
  #pending = 0;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** Added, not yet committed. */
  get pending(): number {
    return this.#pending;
  }

  /** Resolves when the acknowledgement is durable, or can not be: then the message comes again. */
  add({ topic, group, offset, claim }: Delivery): Promise<void> {
    this.#pending++;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#next.push({ delivery: { topic, group, offset, claim }, resolve });
    this.#committing ??= this.#commitAll();
    return promise;
  }

  async flush(): Promise<void> {
    while (this.#committing) await this.#committing;
  }

  async #commitAll(): Promise<void> {
    // Handlers that end in the same tick share the commit.
    await Promise.resolve();
    while (this.#next.length > 0) {
      const acks = this.#next;
      this.#next = [];
      await this.#commit(acks);
      this.#pending -= acks.length;
      for (const ack of acks) ack.resolve();
    }
    this.#committing = undefined;
  }

  async #commit(acks: readonly Ack[]): Promise<void> {
    try {
      await this.#store.commit(acks.map(mutationOf));
    } catch (error) {
      if (error instanceof StoreConflict && acks.length > 1) {
        // One lost claim must not hold up the others.
        await Promise.all(acks.map((ack) => this.#commit([ack])));
      } else {
        const { topic, offset } = acks[0]?.delivery ?? {};
        this.#log.warn(
          { error, topic, offset },
          "message was handled but not acknowledged, it will come again",
        );
      }
    }
  }
}

function mutationOf({ delivery }: Ack): Mutation {
  return { kind: "ack", delivery };
}
