// A real FerretDB for the suites: one server for a file of tests. MongoDB itself can not be installed where they run.

import { MongoClient } from "mongodb";
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import type { StateStore } from "../../src/component/state-store.ts";
import mongodb from "../../src/components/state/mongodb.ts";
import { type Service, startService } from "../services.ts";
import { componentHost } from "./component-host.ts";

export interface TestMongo {
  server: Service;
  /** For looking and writing behind the component's back. */
  client: MongoClient;
  open(items?: Record<string, string>): Promise<StateStore>;
  stop(): Promise<void>;
}

export async function startMongo(): Promise<TestMongo> {
  const server = await startService("ferretdb");
  const client = new MongoClient(String(server.details.url), { retryWrites: false });
  return {
    server,
    client,
    async open(items = {}) {
      const values = new Map(Object.entries({ host: `127.0.0.1:${server.port}`, ...items }));
      const definition = mongodb as unknown as ComponentDefinition<ComponentKind>;
      const { options } = parseOptions(definition, values);
      return mongodb.open(options as Parameters<typeof mongodb.open>[0], componentHost());
    },
    async stop() {
      await client.close(true);
      await server.stop();
    },
  };
}
