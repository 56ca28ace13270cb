// A server that speaks AWS for the contract suites: one for a file of tests.
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { type Service, startService } from "../services.ts";

export interface TestMoto {
  server: Service;
  /** What a client of the SDK is made with. */
  client: {
    endpoint: string;
    region: string;
    credentials: { accessKeyId: string; secretAccessKey: string };
  };
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  stop(): Promise<void>;
}

export async function startMoto(): Promise<TestMoto> {
  const server = await startService("moto");
  const endpoint = String(server.details.url);
  const own = { endpoint, region: "us-east-1", accessKey: "test", secretKey: "secret" };
  return {
    server,
    client: {
      endpoint,
      region: own.region,
      credentials: { accessKeyId: own.accessKey, secretAccessKey: own.secretKey },
    },
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const values = new Map(Object.entries({ ...own, ...items }));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
    stop: () => server.stop(),
  };
}
