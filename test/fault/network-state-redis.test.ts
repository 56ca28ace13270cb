import redis from "../../src/components/state/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const hasty = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    const open = (port: number) =>
      redis.open(options(redis, { redisHost: `127.0.0.1:${port}`, ...hasty }), componentHost());
    return { server, open, stop };
  },
});
