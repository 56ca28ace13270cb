import redis from "../../src/components/pubsub/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { pubsubFaults } from "./pubsub-server.ts";

pubsubFaults({
  name: "pubsub.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const redelivery = { processingTimeout: "1000", redeliverInterval: "100" };
    const open = (items: Record<string, string> = {}) =>
      redis.open(options(redis, { ...redelivery, ...items }), componentHost());
    return { server, open, stop };
  },
  hasty: { readTimeout: "300", dialTimeout: "500", redisMaxRetryInterval: "50" },
});
