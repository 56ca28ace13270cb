import { afterAll, beforeAll, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import kafka from "../../src/components/pubsub/kafka.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { startKafka, type TestKafka } from "../contract/kafka.ts";
import { subscription } from "../contract/pubsub.ts";

let server: TestKafka;
beforeAll(async () => {
  server = await startKafka({ "num.partitions": "4" });
}, 240_000);
afterAll(() => server.stop(), 60_000);

const open = (items: Record<string, string> = {}): Promise<PubSub> =>
  kafka.open(server.options(kafka, items), componentHost());

/** What was handled of each key, whose messages have the numbers 0, 1, 2 … */
class Ledger {
  readonly last = new Map<string, number>();
  readonly gaps: string[] = [];
  repeated = 0;
  count = 0;

  async handle(data: Uint8Array): Promise<void> {
    const [key = "", text] = Buffer.from(data).toString().split(":");
    const number = Number(text);
    const last = this.last.get(key) ?? -1;
    await new Promise((done) => setTimeout(done, number % 3));
    // Before a message all that is before it was handled, by whichever member.
    if (number > last + 1) this.gaps.push(`${key}:${number} after ${last}`);
    if (number <= last) this.repeated++;
    this.last.set(key, Math.max(last, number));
    this.count++;
  }
}

for (const consumerGroupRebalanceStrategy of ["range", "roundrobin"]) {
  test(`members come and go (${consumerGroupRebalanceStrategy}): nothing is lost, each key keeps its order`, async () => {
    const topic = `shared-${consumerGroupRebalanceStrategy}`;
    const ledger = new Ledger();
    const join = async (): Promise<PubSub> => {
      const member = await open({ consumerGroupRebalanceStrategy });
      await member.subscribe(subscription({ topic }), ({ data }) => ledger.handle(data));
      return member;
    };
    const members = [await join()];
    const publisher = await open();
    let isOver = false;
    const publish = async (key: string): Promise<number> => {
      let number = 0;
      for (; !isOver; number++) {
        const data = Buffer.from(`${key}:${number}`);
        await publisher.publish({ topic, data, contentType: "", metadata: { partitionKey: key } });
      }
      return number;
    };
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
    const publishing = Promise.all(keys.map(publish));
    for (let change = 0; change < 6; change++) {
      const before = ledger.count;
      await until(() => ledger.count > before + 100, "it goes on", 30_000);
      if (change % 2 === 0) members.push(await join());
      else await members.shift()?.close();
    }
    isOver = true;
    const counts = await publishing;
    const isAll = () => keys.every((key, index) => ledger.last.get(key) === (counts[index] ?? 0) - 1);
    await until(isAll, "all are handled", 60_000);
    expect(ledger.gaps).toEqual([]);
    for (const member of [publisher, ...members]) await member.close();
    console.log(`${topic}: ${ledger.count} handled over 6 rebalances, ${ledger.repeated} once more`);
  }, 120_000);
}
