// What every pub/sub component with a broker of its own must do when that broker dies, or stands still.

import { afterEach, describe, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import { ServerUnavailable } from "../../src/component/server-unavailable.ts";
import { until } from "../../src/testing/index.ts";
import { subscription } from "../contract/pubsub.ts";
import type { Service } from "../services.ts";
import { signalTree } from "../signal-tree.ts";
import { answered } from "./answered.ts";
import { isDone } from "./is-done.ts";

export interface PubSubServer {
  server: Service;
  open(items?: Record<string, string>): Promise<PubSub>;
  stop(): Promise<void>;
}

export interface PubSubFaults {
  name: string;
  start(): Promise<PubSubServer>;
  /** Metadata with which a frozen broker is noticed soon. */
  hasty: Record<string, string>;
  /** Fewer for brokers that start slowly. */
  kills?: number;
  /** Of each subscription. */
  metadata?: Record<string, string>;
  /** The broker may forget a new queue when it is killed: it is shut down once first. */
  forgetsNewQueues?: true;
  /** The broker keeps nothing over a restart: it is only frozen. */
  forgets?: true;
  /** Metadata with which what is acknowledged is on the broker's disk, where that is not so anyhow. */
  careful?: Record<string, string>;
}

const publishers = 8;
const backMs = 60_000;

/** Runs the suite for one component. */
export function pubsubFaults({
  name,
  start,
  hasty,
  kills = 6,
  metadata = {},
  forgetsNewQueues,
  forgets,
  careful,
}: PubSubFaults): void {
  const rounds = Number(process.env.MECHA_TEST_ROUNDS ?? kills);
  describe(name, () => {
    let running: PubSubServer;
    let pubsub: PubSub;
    const open = async (items: Record<string, string> = {}): Promise<void> => {
      running = await start();
      pubsub = await answered(() => running.open(items));
    };
    afterEach(async () => {
      signalTree(running.server.pid, "CONT");
      await pubsub.close();
      await running.stop();
    }, 60_000);

    test("answers in time when the broker is frozen, and both ends go on when it is back", async () => {
      await open(hasty);
      const seen = new Set<string>();
      const send = (text: string) =>
        pubsub.publish({ topic: "topic", data: Buffer.from(text), contentType: "", metadata: {} });
      await pubsub.subscribe(subscription({ metadata }), async ({ data }) => {
        seen.add(Buffer.from(data).toString());
      });
      await answered(() => send("before"));
      await until(() => seen.has("before"), "it is there", backMs);
      signalTree(running.server.pid, "STOP");
      const error = await send("meanwhile").catch((e) => e);
      expect(error).toBeInstanceOf(ServerUnavailable);
      expect((error as ServerUnavailable).outcome).toBe("unknown");
      signalTree(running.server.pid, "CONT");
      await until(() => isDone(send("after")), "it is back", backMs);
      await until(() => seen.has("after"), "it is there", backMs);
    }, 200_000);

    if (forgets) return;
    test(`loses no published message in ${rounds} times kill -9 of the broker`, async () => {
      await open(careful);
      const journal = new Journal();
      await pubsub.subscribe(subscription({ metadata }), async ({ data }) => journal.handle(data));
      if (forgetsNewQueues) {
        await running.server.shutDown();
        await running.server.start();
      }
      let isOver = false;
      const publish = async (publisher: number): Promise<void> => {
        for (let number = 1; !isOver; number++) await journal.publish(pubsub, `${publisher}:${number}`);
      };
      const publishing = Promise.all(Array.from({ length: publishers }, (_, index) => publish(index)));
      for (let kill = 0; kill < rounds; kill++) {
        const before = journal.acknowledged.length;
        await until(() => journal.acknowledged.length > before + 150, "publishing goes on", backMs);
        await running.server.kill();
        await running.server.start();
      }
      isOver = true;
      await publishing;
      await until(() => journal.missing.length === 0, "all are handled", 120_000).catch(() => undefined);
      expect(journal.missing).toEqual([]);
      for (const text of journal.seen.keys()) expect(journal.sent.has(text)).toBe(true);
      console.log(`${name}: ${rounds} kills, ${journal.summary}`);
    }, 400_000);
  });
}

/** What was published and handled. Some are failed at their first try: they come again, over a kill too. */
class Journal {
  readonly acknowledged: string[] = [];
  readonly sent = new Set<string>();
  readonly seen = new Map<string, number>();

  handle(data: Uint8Array): void {
    const text = Buffer.from(data).toString();
    const times = (this.seen.get(text) ?? 0) + 1;
    this.seen.set(text, times);
    if (times === 1 && text.endsWith("0")) throw new Error("again");
  }

  async publish(pubsub: PubSub, text: string): Promise<void> {
    this.sent.add(text);
    try {
      await pubsub.publish({ topic: "topic", data: Buffer.from(text), contentType: "", metadata: {} });
      this.acknowledged.push(text);
    } catch (error) {
      expect(error).toBeInstanceOf(ServerUnavailable);
      await new Promise((next) => setTimeout(next, 2));
    }
  }

  get missing(): string[] {
    return this.acknowledged.filter((text) => (this.seen.get(text) ?? 0) < wanted(text));
  }

  get summary(): string {
    const repeated = [...this.seen].filter(([text, times]) => times > wanted(text)).length;
    const { acknowledged, sent } = this;
    return `${acknowledged.length} acknowledged of ${sent.size}, ${repeated} handled once more`;
  }
}

function wanted(text: string): number {
  return text.endsWith("0") ? 2 : 1;
}
