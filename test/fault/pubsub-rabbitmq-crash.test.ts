import rabbitmq from "../../src/components/pubsub/rabbitmq.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRabbitmq } from "../contract/rabbitmq.ts";
import { pubsubFaults } from "./pubsub-server.ts";

for (const queueType of ["classic", "quorum"]) {
  pubsubFaults({
    name: `pubsub.rabbitmq, ${queueType} queues`,
    async start() {
      const { server, options, stop } = await startRabbitmq();
      const lasting = { deletedWhenUnused: "false", requeueInFailure: "true", reconnectWaitSeconds: "200ms" };
      const open = (items: Record<string, string> = {}) =>
        rabbitmq.open(options(rabbitmq, { ...lasting, ...items }), componentHost());
      return { server, open, stop };
    },
    hasty: { timeout: "1s", heartBeat: "1s" },
    kills: 2,
    metadata: { queueType },
    // RabbitMQ 3.10, killed within its first seconds, may come back without a queue that it had declared durable.
    forgetsNewQueues: true,
  });
}
