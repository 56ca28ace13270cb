import jetstream from "../../src/components/pubsub/jetstream.ts";
import { componentHost } from "../contract/component-host.ts";
import { startNats } from "../contract/nats.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.jetstream",
  async start() {
    const { server, options, stop } = await startNats();
    const open = (port: number) => {
      const items = {
        natsURL: `nats://127.0.0.1:${port}`,
        createStreams: "true",
        ackWait: "1s",
        timeout: "1s",
      };
      return jetstream.open(options(jetstream, items), componentHost());
    };
    return { server, open, stop };
  },
});
