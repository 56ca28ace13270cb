import { describe, expect, test } from "bun:test";
import type { PubSub } from "../../src/component/pubsub.ts";
import memory from "../../src/components/pubsub/in-memory.ts";
import { pubsubOnStore } from "../../src/engine/defaults/pubsub.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { componentHost, eventually, temporaryStore } from "./component-host.ts";
import { pubsubContract, subscription } from "./pubsub.ts";

pubsubContract(
  "pubsub.in-memory",
  { features: ["SUBSCRIBE_WILDCARDS"], isDurable: false, keepsOrder: true },
  async () => {
    const pubsub = await memory.open({}, componentHost());
    return { pubsub, close: () => pubsub.close() };
  },
);

pubsubContract(
  "pubsub.mecha",
  { features: ["MESSAGE_TTL", "BULK_PUBSUB"], isDurable: true, keepsOrder: false },
  async () => {
    const engine = await temporaryStore();
    const open = (store: Store) => {
      const options = {
        initialOffset: "oldest",
        processingTimeout: 30_000,
        redeliverInterval: 10,
        redeliverIntervalMax: 50,
      } as const;
      return pubsubOnStore(store).open(options, componentHost());
    };
    let pubsub = await open(engine.store);
    return {
      pubsub,
      async reopen() {
        await pubsub.close();
        pubsub = await open(await engine.reopen());
        return pubsub;
      },
      async close() {
        await pubsub.close();
        await engine.close();
      },
    };
  },
);

describe("pubsub.mecha", () => {
  const options = {
    initialOffset: "oldest",
    processingTimeout: 30_000,
    redeliverInterval: 10,
    redeliverIntervalMax: 50,
  } as const;
  const send = (pubsub: PubSub) =>
    pubsub.publish({ topic: "topic", data: new Uint8Array(), contentType: "", metadata: {} });
  const count = async (pubsub: PubSub) => {
    const seen = { count: 0 };
    await pubsub.subscribe(subscription(), async () => {
      seen.count++;
    });
    return seen;
  };

  test("keeps namespaces and components apart", async () => {
    const engine = await temporaryStore();
    const all: PubSub[] = [];
    const open = async (name: string, namespace: string) => {
      const pubsub = await pubsubOnStore(engine.store).open(options, componentHost({ name, namespace }));
      all.push(pubsub);
      return pubsub;
    };
    const mine = await open("bus", "a");
    const [same, otherName, otherNamespace] = await Promise.all([
      count(await open("bus", "a")),
      count(await open("other", "a")),
      count(await open("bus", "b")),
    ]);
    await send(mine);
    await eventually("it is there", () => same.count === 1);
    expect([otherName.count, otherNamespace.count]).toEqual([0, 0]);
    for (const pubsub of all) await pubsub.close();
    await engine.close();
  });

  test("starts a new group where it was told to", async () => {
    const engine = await temporaryStore();
    const host = componentHost();
    const oldest = await pubsubOnStore(engine.store).open(options, host);
    await send(oldest);
    const newest = await pubsubOnStore(engine.store).open({ ...options, initialOffset: "newest" }, host);
    let late = 0;
    await newest.subscribe(subscription({ consumerGroup: "late" }), async () => {
      late++;
    });
    const early = await count(oldest);
    await send(oldest);
    await eventually("both are there", () => early.count === 2 && late === 1);
    await newest.close();
    await oldest.close();
    await engine.close();
  });
});
