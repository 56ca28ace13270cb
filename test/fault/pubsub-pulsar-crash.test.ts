import pulsar from "../../src/components/pubsub/pulsar.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPulsar } from "../contract/pulsar.ts";
import { pubsubFaults } from "./pubsub-server.ts";

pubsubFaults({
  name: "pubsub.pulsar",
  async start() {
    const { server, options, stop } = await startPulsar();
    const open = (items: Record<string, string> = {}) => pulsar.open(options(pulsar, items), componentHost());
    return { server, open, stop };
  },
  // A fresh broker takes a second and more for its first topic.
  hasty: { timeout: "5s" },
  kills: 1,
});
