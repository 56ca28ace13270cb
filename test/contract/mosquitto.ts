// A real Mosquitto for the contract suites: one broker for a file of tests.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { type Service, startService } from "../services.ts";

export interface TestMosquitto {
  server: Service;
  url: string;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  stop(): Promise<void>;
}

export async function startMosquitto(options: Record<string, string> = {}): Promise<TestMosquitto> {
  const server = await startService("mosquitto", { options });
  const url = String(server.details.url);
  return {
    server,
    url,
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const values = new Map(Object.entries({ url, ...items }));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
    stop: () => server.stop(),
  };
}
