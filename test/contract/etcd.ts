// A real etcd for the contract suites.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { type Service, startService } from "../services.ts";

export interface TestEtcd {
  server: Service;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  stop(): Promise<void>;
}

export async function startEtcd(): Promise<TestEtcd> {
  const server = await startService("etcd");
  return {
    server,
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const values = new Map(Object.entries({ endpoints: `127.0.0.1:${server.port}`, ...items }));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
    stop: () => server.stop(),
  };
}
