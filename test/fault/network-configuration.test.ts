import type { ConfigurationStore } from "../../src/component/configuration-store.ts";
import etcd from "../../src/components/configuration/etcd.ts";
import postgresql from "../../src/components/configuration/postgresql.ts";
import redis from "../../src/components/configuration/redis.ts";
import { componentHost } from "../contract/component-host.ts";
import { startEtcd } from "../contract/etcd.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { startRedis } from "../contract/redis.ts";
import { type NetworkedCalls, networkedCalls } from "./network-calls.ts";

let count = 0;

/** What somebody has set is what the component has of it. */
function callerOf(items: ConfigurationStore, set: (key: string, value: string) => Promise<unknown>) {
  return {
    async call(text: string) {
      const key = `key-${++count}`;
      await set(key, text);
      return (await items.get([key], {}))[key]?.value ?? "";
    },
    close: () => items.close(),
  };
}

const starts: Record<string, NetworkedCalls["start"]> = {
  "configuration.redis": async () => {
    const { server, options, connect, stop } = await startRedis();
    const owner = await connect();
    const times = { readTimeout: "1s", dialTimeout: "1s", redisMaxRetryInterval: "200" };
    return {
      port: server.port,
      async open(port) {
        const items = { redisHost: `127.0.0.1:${port}`, ...times };
        const opened = await redis.open(options(redis, items), componentHost());
        return callerOf(opened, (key, value) => owner.write("SET", key, `${value}||1`));
      },
      async stop() {
        await owner.close();
        await stop();
      },
    };
  },
  "configuration.postgresql": async () => {
    const { server, options, ask, stop } = await startPostgresql();
    await ask("CREATE TABLE config (key varchar, value varchar, version varchar, metadata json)");
    const url = String(server.details.url);
    return {
      port: server.port,
      async open(port) {
        const connectionString = url.replace(`:${server.port}/`, `:${port}/`);
        const items = { connectionString, timeout: "1s", table: "config" };
        const opened = await postgresql.open(options(postgresql, items) as never, componentHost());
        return callerOf(opened, (key, value) =>
          ask("INSERT INTO config VALUES ($1, $2, '1', NULL)", [key, value]),
        );
      },
      stop,
    };
  },
  "configuration.etcd": async () => {
    const { server, options, put, stop } = await startEtcd();
    return {
      port: server.port,
      async open(port) {
        const items = { endpoints: `127.0.0.1:${port}`, timeout: "1s", keyPrefixPath: "net" };
        const opened = await etcd.open(options(etcd, items), componentHost());
        return callerOf(opened, (key, value) => put(`net/${key}`, value));
      },
      stop,
    };
  },
};

for (const [name, start] of Object.entries(starts)) networkedCalls({ name, start });
