import kafka from "../../src/components/pubsub/kafka.ts";
import { componentHost } from "../contract/component-host.ts";
import { startKafka } from "../contract/kafka.ts";
import { pubsubFaults } from "./pubsub-server.ts";

pubsubFaults({
  name: "pubsub.kafka",
  async start() {
    const { server, options, stop } = await startKafka();
    const open = (items: Record<string, string> = {}) => kafka.open(options(kafka, items), componentHost());
    return { server, open, stop };
  },
  hasty: { readTimeout: "1s", dialTimeout: "1s" },
  kills: 2,
});
