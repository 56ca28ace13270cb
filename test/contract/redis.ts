// A real Redis for the contract suites: one server for a file of tests, emptied before each.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { openRedis, type RedisConnection, type RedisSettings } from "../../src/components/clients/redis.ts";
import { type Service, startService } from "../services.ts";
import { componentHost } from "./component-host.ts";

export interface TestRedis {
  server: Service;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  /** For looking and writing behind the component's back. */
  connect(): Promise<RedisConnection>;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(options: Record<string, string> = {}): Promise<TestRedis> {
  const server = await startService("redis", { options });
  const read = <O>(definition: object, items: Record<string, string> = {}): O => {
    const values = new Map(Object.entries({ redisHost: `127.0.0.1:${server.port}`, ...items }));
    return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
  };
  const { default: state } = await import("../../src/components/state/redis.ts");
  const connect = () => openRedis(read<RedisSettings>(state), componentHost());
  const own = await connect();
  return {
    server,
    options: read,
    connect,
    flush: async () => void (await own.write("FLUSHALL")),
    async stop() {
      await own.close();
      await server.stop();
    },
  };
}
