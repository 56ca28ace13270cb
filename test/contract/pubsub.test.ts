import memory from "../../src/components/pubsub/in-memory.ts";
import { pubsubOnStore } from "../../src/engine/defaults/pubsub.ts";
import type { Store } from "../../src/engine/store/store.ts";
import { componentHost, temporaryStore } from "./component-host.ts";
import { pubsubContract } from "./pubsub.ts";

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
