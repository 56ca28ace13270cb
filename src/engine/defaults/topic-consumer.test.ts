import { afterEach, beforeEach, expect, test } from "bun:test";
import type { MessageHandler } from "../../component/pubsub.ts";
import { simulatedEdges } from "../../edges/simulated.ts";
import type { Log } from "../../telemetry/telemetry.ts";
import {
  type ClaimRequest,
  type Delivery,
  type Mutation,
  type Store,
  StoreConflict,
} from "../store/store.ts";
import { TopicConsumer } from "./topic-consumer.ts";

const log = { debug() {}, info() {}, warn() {}, error() {}, fatal() {}, scope: () => log } as unknown as Log;

/** A topic in memory that writes down what the consumer asks of it. */
class FakeTopic {
  messages: Delivery[] = [];
  claims: number[] = [];
  acks: number[][] = [];
  nacks: { offset: number; delayMs: number; untried: boolean }[] = [];
  extended: number[][] = [];
  lost = new Set<number>();
  failures = 0;
  hold: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  add(count: number, attempt = 1): void {
    for (let left = count; left > 0; left--) {
      const offset = this.messages.length + this.#claimed + 1;
      const data = new TextEncoder().encode(String(offset));
      this.messages.push({
        topic: "t",
        group: "g",
        offset,
        claim: 1,
        data,
        headers: {},
        attempt,
        publishedAtMs: 0,
      });
    }
    this.#wake?.();
  }
  #claimed = 0;

  readonly store = {
    claim: async ({ max, signal }: ClaimRequest) => {
      if (this.failures > 0) {
        this.failures--;
        throw new Error("the store is away");
      }
      while (this.messages.length === 0 && !signal?.aborted) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
          signal?.addEventListener("abort", () => resolve());
        });
      }
      const claimed = signal?.aborted ? [] : this.messages.splice(0, max);
      this.#claimed += claimed.length;
      if (claimed.length > 0) this.claims.push(claimed.length);
      return claimed;
    },
    commit: async (mutations: readonly Mutation[]) => {
      await this.hold;
      const offsets = mutations.map((one) => (one.kind === "ack" ? one.delivery.offset : -1));
      const lost = offsets.findIndex((offset) => this.lost.has(offset));
      if (lost >= 0) throw new StoreConflict(lost, "claim", "the claim is lost");
      this.acks.push(offsets);
      return [];
    },
    nack: async ({ offset }: Delivery, delayMs: number, { untried = false } = {}) => {
      this.nacks.push({ offset, delayMs, untried });
      return true;
    },
    extend: async (deliveries: Delivery[]) => {
      this.extended.push(deliveries.map((delivery) => delivery.offset));
      return deliveries;
    },
  } as unknown as Store;
}

let topic: FakeTopic;
let edges = simulatedEdges(7);
let consumer: TopicConsumer | undefined;
beforeEach(() => {
  topic = new FakeTopic();
  edges = simulatedEdges(7);
});
afterEach(async () => {
  await consumer?.close();
  consumer = undefined;
});

function consume(handler: MessageHandler, concurrencyMax = 4): TopicConsumer {
  const options = { store: topic.store, edges, log, leaseMs: 30_000, backOffMs: { first: 100, max: 30_000 } };
  consumer = new TopicConsumer(
    { topic: "t", storeTopic: "t", consumerGroup: "g", concurrencyMax },
    handler,
    options,
  );
  consumer.start();
  return consumer;
}

/** Lets everything that can go on without time passing go on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

test("TopicConsumer acknowledges in batches: what ends while a commit runs shares the next", async () => {
  let release = () => {};
  topic.hold = new Promise((resolve) => {
    release = resolve;
  });
  consume(async () => {}, 8);
  topic.add(1);
  await settle();
  topic.add(5);
  await settle();
  release();
  await settle();
  expect(topic.acks).toEqual([[1], [2, 3, 4, 5, 6]]);
});

test("TopicConsumer acknowledges the others when one claim was lost", async () => {
  topic.lost.add(2);
  topic.add(3);
  consume(async () => {});
  await settle();
  expect(topic.acks.flat().sort()).toEqual([1, 3]);
});

test("TopicConsumer gives failed messages back with a growing, bounded delay", async () => {
  for (const attempt of [1, 2, 5, 40]) topic.add(1, attempt);
  consume(async () => {
    throw new Error("no");
  });
  await settle();
  const delays = topic.nacks.map((nack) => nack.delayMs);
  const ceilings = [100, 200, 1600, 30_000];
  for (const [index, ceiling] of ceilings.entries()) {
    expect(delays[index]).toBeGreaterThanOrEqual(ceiling / 2);
    expect(delays[index]).toBeLessThanOrEqual(ceiling);
  }
  expect(topic.acks).toEqual([]);
});

test("TopicConsumer extends the leases of what it holds, until it is done", async () => {
  let finish = () => {};
  const atWork = new Promise<void>((resolve) => {
    finish = resolve;
  });
  topic.add(2);
  consume(() => atWork);
  await settle();
  edges.clock.advance(10_000);
  await settle();
  edges.clock.advance(10_000);
  await settle();
  expect(topic.extended).toEqual([
    [1, 2],
    [1, 2],
  ]);
  finish();
  await settle();
  edges.clock.advance(10_000);
  await settle();
  expect(topic.extended).toHaveLength(2);
});

test("TopicConsumer claims no more than its handlers take, and ahead only when they are fast", async () => {
  const finishers: (() => void)[] = [];
  consume(() => new Promise<void>((resolve) => finishers.push(resolve)), 4);
  topic.add(20);
  await settle();
  // Nothing is known of the handlers yet: what they can take, and no more.
  expect(topic.claims).toEqual([4]);
  for (const finish of finishers.splice(0)) finish();
  await settle();
  // They took no time at all: as many again are held ready.
  expect(finishers).toHaveLength(4);
  expect(topic.claims.reduce((sum, count) => sum + count)).toBeGreaterThan(8);
  expect(topic.claims.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(12);
  const closing = consumer?.close();
  for (const finish of finishers) finish();
  await closing;
});

test("TopicConsumer gives back untried what it holds ready when it closes", async () => {
  const finishers: (() => void)[] = [];
  consume(() => new Promise<void>((resolve) => finishers.push(resolve)), 2);
  topic.add(8);
  await settle();
  for (const finish of finishers.splice(0)) finish();
  await settle();
  const closing = consumer?.close();
  for (const finish of finishers) finish();
  await closing;
  const handled = topic.acks.flat().length;
  expect(topic.nacks.every((nack) => nack.untried && nack.delayMs === 0)).toBe(true);
  expect(topic.nacks.length).toBeGreaterThan(0);
  expect(handled + topic.nacks.length).toBe(topic.claims.reduce((sum, count) => sum + count));
});

test("TopicConsumer tries again when the store is away", async () => {
  topic.failures = 2;
  topic.add(1);
  consume(async () => {});
  await settle();
  edges.clock.advance(1_000);
  await settle();
  edges.clock.advance(1_000);
  await settle();
  expect(topic.acks).toEqual([[1]]);
});

test("TopicConsumer leaves no timer behind", async () => {
  topic.add(3);
  const closing = consume(async () => {});
  await settle();
  await closing.close();
  expect(edges.clock.pendingTimers).toBe(0);
});
