import redis from "../../src/components/state/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({
  name: "state.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const open = (items?: Record<string, string>) =>
      redis.open(options<Parameters<typeof redis.open>[0]>(redis, items), componentHost());
    return { server, open, stop };
  },
  hasty: { readTimeout: "300", dialTimeout: "500", redisMaxRetryInterval: "50" },
  countsVersions: true,
});
