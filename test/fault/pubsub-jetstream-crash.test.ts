import jetstream from "../../src/components/pubsub/jetstream.ts";
import { componentHost } from "../contract/component-host.ts";
import { startNats } from "../contract/nats.ts";
import { pubsubFaults } from "./pubsub-server.ts";

pubsubFaults({
  name: "pubsub.jetstream",
  async start() {
    const { server, options, stop } = await startNats();
    const open = (items: Record<string, string> = {}) =>
      jetstream.open(options(jetstream, { createStreams: "true", ackWait: "1s", ...items }), componentHost());
    return { server, open, stop };
  },
  hasty: { timeout: "1s" },
});
