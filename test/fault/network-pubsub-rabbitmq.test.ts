import rabbitmq from "../../src/components/pubsub/rabbitmq.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRabbitmq } from "../contract/rabbitmq.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.rabbitmq",
  async start() {
    const { server, url, options, stop } = await startRabbitmq();
    const lasting = { deletedWhenUnused: "false", requeueInFailure: "true", reconnectWaitSeconds: "200ms" };
    const open = (port: number) => {
      const connectionString = url.replace(`:${server.port}`, `:${port}`);
      const items = { ...lasting, connectionString, timeout: "1s", heartBeat: "1s" };
      return rabbitmq.open(options(rabbitmq, items), componentHost());
    };
    return { server, open, stop };
  },
});
