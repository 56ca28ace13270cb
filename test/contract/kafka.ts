// A real Kafka for the contract suites: one broker for a file of tests.
import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { type Service, startService } from "../services.ts";

export interface TestKafka {
  server: Service;
  broker: string;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  stop(): Promise<void>;
}

/** Rebalances of a group are as fast as its heartbeats. */
const quick = { authType: "none", heartbeatInterval: "100ms", sessionTimeout: "6s" };

export async function startKafka(options: Record<string, string> = {}): Promise<TestKafka> {
  const server = await startService("kafka", { options: { "message.max.bytes": "4000000", ...options } });
  const broker = `127.0.0.1:${server.port}`;
  return {
    server,
    broker,
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const values = new Map(Object.entries({ brokers: broker, ...quick, ...items }));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
    stop: () => server.stop(),
  };
}
