import redis from "../../src/components/lock/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { lockFaults } from "./lock-server.ts";

lockFaults({
  name: "lock.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const hasty = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    const open = (port: number) =>
      redis.open(options(redis, { redisHost: `127.0.0.1:${port}`, ...hasty }), componentHost());
    return { server, open, stop };
  },
});
