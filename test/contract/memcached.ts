// A real memcached for the suites: one server for a file of tests.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import memcached from "../../src/components/state/memcached.ts";
import { type Service, startService } from "../services.ts";
import { componentHost } from "./component-host.ts";

export interface TestMemcached {
  server: Service;
  open(items?: Record<string, string>): Promise<StateStore>;
  stop(): Promise<void>;
}

export async function startMemcached(options: Record<string, string> = {}): Promise<TestMemcached> {
  const server = await startService("memcached", { options });
  return {
    server,
    open(items = {}) {
      const values = new Map(Object.entries({ hosts: `127.0.0.1:${server.port}`, ...items }));
      const definition = memcached as unknown as ComponentDefinition<ComponentKind>;
      const { options } = parseOptions(definition, values);
      return memcached.open(options as Parameters<typeof memcached.open>[0], componentHost());
    },
    stop: () => server.stop(),
  };
}
