import redis from "../../src/components/pubsub/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const hasty = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    const redelivery = { processingTimeout: "1000", redeliverInterval: "100" };
    const open = (port: number) =>
      redis.open(
        options(redis, { redisHost: `127.0.0.1:${port}`, ...hasty, ...redelivery }),
        componentHost(),
      );
    return { server, open, stop };
  },
});
