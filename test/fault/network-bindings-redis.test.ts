import redis from "../../src/components/bindings/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRedis } from "../contract/redis.ts";
import { networkedCalls } from "./network-calls.ts";

let count = 0;

networkedCalls({
  name: "bindings.redis",
  async start() {
    const { server, options, stop } = await startRedis();
    const times = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    return {
      port: server.port,
      async open(port) {
        const items = { redisHost: `127.0.0.1:${port}`, ...times };
        const binding = await redis.open(options(redis, items), componentHost());
        return {
          async call(text) {
            const metadata = { key: `key-${++count}` };
            await binding.invoke?.({ operation: "create", metadata, data: Buffer.from(text) });
            const reply = await binding.invoke?.({ operation: "get", metadata, data: new Uint8Array(0) });
            return Buffer.from(reply?.data ?? []).toString();
          },
          close: () => binding.close(),
        };
      },
      stop,
    };
  },
});
