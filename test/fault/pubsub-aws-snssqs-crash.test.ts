import snssqs from "../../src/components/pubsub/aws.snssqs.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMoto } from "../contract/moto.ts";
import { pubsubFaults } from "./pubsub-server.ts";

pubsubFaults({
  name: "pubsub.aws.snssqs",
  async start() {
    const { server, options, stop } = await startMoto();
    const soon = { messageVisibilityTimeout: "2", messageWaitTimeSeconds: "1" };
    const open = (items: Record<string, string> = {}) =>
      snssqs.open(options(snssqs, { ...soon, ...items }), componentHost());
    return { server, open, stop };
  },
  hasty: { timeout: "1s" },
  forgets: true,
});
