// Azure's own emulator for the suites of its storage.
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { type Service, startService } from "../services.ts";

export interface TestAzurite {
  server: Service;
  blobUrl: string;
  queueUrl: string;
  /** The metadata of a component, as the loader reads it; an item that is empty is left out. */
  options<O>(definition: object, items?: Record<string, string>): O;
}

export async function startAzurite(): Promise<TestAzurite> {
  const server = await startService("azurite");
  const { accountName, accountKey, queuePort } = server.details as Record<string, string>;
  return {
    server,
    blobUrl: `http://127.0.0.1:${server.port}`,
    queueUrl: `http://127.0.0.1:${queuePort}`,
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const all = { accountName, accountKey, ...items } as Record<string, string>;
      const values = new Map(Object.entries(all).filter(([, value]) => value !== ""));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
  };
}
