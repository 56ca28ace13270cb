import redis from "../../src/components/state/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const open = (port: number, seconds = 1) => {
      const [redisHost, timeout] = [`127.0.0.1:${port}`, `${seconds}s`];
      const times = { readTimeout: timeout, dialTimeout: timeout, redisMaxRetryInterval: "200" };
      return redis.open(options(redis, { redisHost, ...times }), componentHost());
    };
    return { server, open, stop };
  },
});
