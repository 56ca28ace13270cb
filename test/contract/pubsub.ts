// What every pub/sub component must do (reliability.md §2.2 and its gaps).
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type {
  IncomingMessage,
  PubSub,
  PubSubFeature,
  PubSubSubscription,
  SubscribeRequest,
} from "../../src/component/pubsub.ts";
import { eventually } from "./component-host.ts";

export interface OpenedPubSub {
  pubsub: PubSub;
  /** Closes the component and opens it over the same broker; absent for those that keep nothing. */
  reopen?: () => Promise<PubSub>;
  close(): Promise<void>;
}

export interface PubSubTraits {
  /** What it must declare, exactly. */
  features: PubSubFeature[];
  /** Failed messages come again, groups remember where they were, consumers of a group compete. */
  isDurable: boolean;
  /** One subscriber gets the messages of a topic in the order they were published. */
  keepsOrder: boolean;
  /** The broker does not say how often it has delivered a message. */
  isUncounted?: true;
  /** Topics have one partition here: it has one consumer of a group, and what fails holds up what is behind it. */
  isOnePartition?: true;
  /** How long after its time a message may still be delivered. */
  expiresLateMs?: number;
  /** A message is its bytes alone. */
  isBare?: true;
  /** How topics are subscribed to by wildcard; by default `orders/*`. */
  wildcard?: string;
  /** The largest message the service takes, when it is less than a megabyte. */
  dataBytesMax?: number;
  /** Messages that are published at once, where the service takes one after the other. */
  atOnce?: number;
}

/** Runs the suite for one component. */
export function pubsubContract(name: string, traits: PubSubTraits, open: () => Promise<OpenedPubSub>): void {
  describe(name, () => {
    let opened: OpenedPubSub;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.close());
    const pubsub = () => opened.pubsub;

    test("declares its features, and has exactly their methods", () => {
      expect([...pubsub().features].sort()).toEqual([...traits.features].sort());
      expect(pubsub().bulkPublish !== undefined).toBe(traits.features.includes("BULK_PUBSUB"));
    });
    deliveryContract(pubsub, traits);
    bulkContract(pubsub);
    if (traits.features.includes("SUBSCRIBE_WILDCARDS")) wildcardContract(pubsub, traits);
    closingContract(pubsub, traits);
    if (traits.isDurable) durableContract(() => opened, traits);
  });
}

type GetPubSub = () => PubSub;

export function subscription(rest: Partial<SubscribeRequest> = {}): SubscribeRequest {
  return { topic: "topic", metadata: {}, consumerGroup: "group", concurrencyMax: 10, ...rest };
}

function publish(
  pubsub: PubSub,
  text: string,
  metadata: Record<string, string> = {},
  topic = "topic",
): Promise<void> {
  return pubsub.publish({ topic, data: new TextEncoder().encode(text), contentType: "text/plain", metadata });
}

async function publishAll(
  pubsub: PubSub,
  texts: readonly string[],
  { atOnce = texts.length }: PubSubTraits,
): Promise<void> {
  for (let at = 0; at < texts.length; at += atOnce)
    await Promise.all(texts.slice(at, at + atOnce).map((text) => publish(pubsub, text)));
}

/** Subscribes and collects the texts it was given; `handle` may fail. */
async function collect(
  pubsub: PubSub,
  request: Partial<SubscribeRequest> = {},
  handle: (text: string, message: IncomingMessage) => void | Promise<void> = () => {},
): Promise<{ texts: string[]; messages: IncomingMessage[] } & PubSubSubscription> {
  const texts: string[] = [];
  const messages: IncomingMessage[] = [];
  const handler = async (message: IncomingMessage): Promise<void> => {
    const text = new TextDecoder().decode(message.data);
    texts.push(text);
    messages.push(message);
    await handle(text, message);
  };
  const { close } = await pubsub.subscribe(subscription(request), handler);
  return { texts, messages, close };
}

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `message ${index}`);

function deliveryContract(pubsub: GetPubSub, traits: PubSubTraits): void {
  const { keepsOrder, isOnePartition, isBare, dataBytesMax = 1024 * 1024 } = traits;
  test("delivers what is published, as it was", async () => {
    const data = Uint8Array.from({ length: 256 }, (_, index) => index);
    const metadata = { traceparent: "00-x", "odd name": "žluť" };
    const { messages } = await collect(pubsub());
    await pubsub().publish({ topic: "topic", data, contentType: "application/x", metadata });
    await eventually("the message is there", () => messages.length === 1);
    const [message] = messages;
    expect(Buffer.from(message?.data ?? []).equals(Buffer.from(data))).toBe(true);
    const carried = isBare ? {} : { contentType: "application/x", metadata };
    expect(message).toMatchObject({ topic: "topic", ...carried });
    expect(message?.attempt ?? 1).toBe(1);
  });

  test("delivers all of many, each once", async () => {
    const { texts } = await collect(pubsub());
    await publishAll(pubsub(), numbered(200), traits);
    await eventually("all are there", () => texts.length >= 200);
    expect([...texts].sort()).toEqual(numbered(200).sort());
  });

  test(`delivers ${dataBytesMax} bytes, and nothing at all`, async () => {
    const { messages } = await collect(pubsub());
    for (const size of [dataBytesMax, 0]) {
      const data = new Uint8Array(size).fill(0xc3);
      await pubsub().publish({ topic: "topic", data, contentType: "", metadata: {} });
    }
    await eventually("both are there", () => messages.length === 2);
    expect(messages.map((message) => message.data.length).sort()).toEqual([0, dataBytesMax]);
  });

  test("keeps topics apart", async () => {
    const one = await collect(pubsub(), { topic: "one" });
    const two = await collect(pubsub(), { topic: "two" });
    await publish(pubsub(), "for one", {}, "one");
    await publish(pubsub(), "for two", {}, "two");
    await eventually("both are there", () => one.texts.length === 1 && two.texts.length === 1);
    expect([one.texts, two.texts]).toEqual([["for one"], ["for two"]]);
  });

  test("delivers to each consumer group", async () => {
    const a = await collect(pubsub(), { consumerGroup: "a" });
    const b = await collect(pubsub(), { consumerGroup: "b" });
    for (const text of numbered(5)) await publish(pubsub(), text);
    await eventually("both have all", () => a.texts.length === 5 && b.texts.length === 5);
  });

  if (!isOnePartition)
    test("goes on after a failing handler", async () => {
      const { texts } = await collect(pubsub(), {}, (text) => {
        if (text === "message 1") throw new Error("not this one");
      });
      for (const text of numbered(4)) await publish(pubsub(), text);
      await eventually("the others are there", () => new Set(texts).size === 4);
    });

  test("runs no more handlers at once than it was told", async () => {
    let running = 0;
    let most = 0;
    const { texts } = await collect(pubsub(), { concurrencyMax: 3, bulkMax: 3 }, async () => {
      most = Math.max(most, ++running);
      await eventually("so many are at work at once", () => most >= 3);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running--;
    });
    await Promise.all(numbered(20).map((text) => publish(pubsub(), text)));
    await eventually("all are there", () => texts.length === 20 && running === 0);
    expect(most).toBe(3);
  });

  test("gathers so many as the handler wants for a batch", async () => {
    let release = () => {};
    const full = new Promise<void>((resolve) => {
      release = resolve;
    });
    let held = 0;
    await collect(pubsub(), { concurrencyMax: 5, bulkMax: 5 }, async () => {
      if (++held === 5) release();
      await full;
    });
    await Promise.all(numbered(5).map((text) => publish(pubsub(), text)));
    await full;
  });

  if (!keepsOrder) return;
  test("keeps the order of a topic", async () => {
    const { texts } = await collect(pubsub(), {}, () => new Promise((resolve) => setTimeout(resolve, 1)));
    for (const text of numbered(50)) await publish(pubsub(), text);
    await eventually("all are there", () => texts.length === 50);
    expect(texts).toEqual(numbered(50));
  });
}

function bulkContract(pubsub: GetPubSub): void {
  test("publishes many at once", async () => {
    if (!pubsub().bulkPublish) return;
    const { texts } = await collect(pubsub());
    const entries = numbered(10).map((text) => ({
      entryId: text,
      data: new TextEncoder().encode(text),
      contentType: "text/plain",
      metadata: {},
    }));
    expect(await pubsub().bulkPublish?.("topic", entries)).toEqual([]);
    await eventually("all are there", () => texts.length === 10);
    expect(await pubsub().bulkPublish?.("topic", [])).toEqual([]);
  });
}

function wildcardContract(pubsub: GetPubSub, { wildcard = "orders/*" }: PubSubTraits): void {
  test("subscribes to topics by wildcard", async () => {
    const all = await collect(pubsub(), { topic: wildcard });
    const exact = await collect(pubsub(), { topic: "orders/eu" });
    await publish(pubsub(), "eu", {}, "orders/eu");
    await publish(pubsub(), "us", {}, "orders/us");
    await publish(pubsub(), "other", {}, "order");
    await eventually("both are there", () => all.texts.length === 2 && exact.texts.length === 1);
    expect(all.messages.map((message) => message.topic)).toEqual(["orders/eu", "orders/us"]);
  });
}

function closingContract(pubsub: GetPubSub, { isDurable }: PubSubTraits): void {
  test("stops one subscription and leaves the others", async () => {
    const closed = await collect(pubsub(), { consumerGroup: "closed" });
    const open = await collect(pubsub(), { consumerGroup: "open" });
    await closed.close();
    await publish(pubsub(), "after");
    await eventually("the other has it", () => open.texts.length === 1);
    expect(closed.texts).toEqual([]);
    await closed.close();
  });

  test("waits for handlers at work when it closes", async () => {
    let finish = () => {};
    const atWork = new Promise<void>((resolve) => {
      finish = resolve;
    });
    let isDone = false;
    const { texts, close } = await collect(pubsub(), { concurrencyMax: 1 }, async () => {
      await atWork;
      isDone = true;
    });
    for (const text of numbered(3)) await publish(pubsub(), text);
    await eventually("one is at work", () => texts.length === 1);
    const closing = close();
    finish();
    await closing;
    expect(isDone).toBe(true);
    expect(texts).toHaveLength(1);
    if (!isDurable) return;
    // What was not handled goes to the next consumer, at its first attempt.
    const next = await collect(pubsub());
    await eventually("the rest is there", () => next.texts.length === 2);
    expect([...next.texts].sort()).toEqual(["message 1", "message 2"]);
    expect(next.messages.map((message) => message.attempt ?? 1)).toEqual([1, 1]);
  });
}

function durableContract(opened: () => OpenedPubSub, traits: PubSubTraits): void {
  const { features, isUncounted, isOnePartition, isBare, expiresLateMs = 0 } = traits;
  const pubsub = () => opened().pubsub;

  test("delivers a failed message again, counting the attempts", async () => {
    const attempts: (number | undefined)[] = [];
    await collect(pubsub(), {}, (_, message) => {
      attempts.push(message.attempt);
      if (attempts.length < 3) throw new Error("again");
    });
    await publish(pubsub(), "stubborn");
    await eventually("it was handled", () => attempts.length === 3);
    if (isUncounted) expect(attempts.slice(1)).toEqual([undefined, undefined]);
    else expect(attempts).toEqual([1, 2, 3]);
  });

  if (!isOnePartition)
    test("lets the consumers of a group share the messages", async () => {
      const slow = () => new Promise<void>((resolve) => setTimeout(resolve, 3));
      const first = await collect(pubsub(), { concurrencyMax: 2 }, slow);
      const second = await collect(pubsub(), { concurrencyMax: 2 }, slow);
      await publishAll(pubsub(), numbered(60), traits);
      await eventually("all are there", () => first.texts.length + second.texts.length >= 60);
      expect([...first.texts, ...second.texts].sort()).toEqual(numbered(60).sort());
      expect(Math.min(first.texts.length, second.texts.length)).toBeGreaterThan(0);
    });

  if (!isBare)
    test("handles messages of one partition key one after the other", async () => {
      let running = 0;
      const { texts } = await collect(pubsub(), {}, async () => {
        expect(++running).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        running--;
      });
      for (const text of numbered(10)) await publish(pubsub(), text, { partitionKey: "same" });
      await eventually("all are there", () => texts.length === 10);
      expect(texts).toEqual(numbered(10));
    });

  test("keeps what a known group has not seen, over a restart", async () => {
    const before = await collect(pubsub());
    await publish(pubsub(), "seen");
    await eventually("it is there", () => before.texts.length === 1);
    await before.close();
    for (const text of numbered(3)) await publish(pubsub(), text);
    const reopened = await opened().reopen?.();
    if (!reopened) return;
    const after = await collect(reopened);
    await eventually("the rest is there", () => after.texts.length === 3);
    expect([...after.texts].sort()).toEqual(numbered(3));
    await after.close();
  });

  if (!features.includes("MESSAGE_TTL")) return;
  test("marks or drops a message that outlived its time", async () => {
    const group = await collect(pubsub());
    await group.close();
    await publish(pubsub(), "short-lived", { ttlInSeconds: "1" });
    await publish(pubsub(), "long-lived", { ttlInSeconds: "100" });
    await new Promise((resolve) => setTimeout(resolve, 1_100 + expiresLateMs));
    const { texts, messages } = await collect(pubsub());
    await eventually("the other is there", () => texts.includes("long-lived"));
    const fresh = messages.filter((message) => !message.expired);
    expect(fresh.map((message) => new TextDecoder().decode(message.data))).toEqual(["long-lived"]);
  });
}
