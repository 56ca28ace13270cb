// A real PostgreSQL for the contract suites: one server for a file of tests, a database for each test.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import {
  openPostgresql,
  type PostgresqlConnection,
  type PostgresqlSettings,
} from "../../src/components/clients/postgresql.ts";
import { type Service, startService } from "../services.ts";
import { componentHost } from "./component-host.ts";

export interface TestPostgresql {
  server: Service;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  /** For looking and writing behind the component's back. */
  ask: PostgresqlConnection["read"];
  /** Takes all tables away. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

export async function startPostgresql(options: Record<string, string> = {}): Promise<TestPostgresql> {
  const server = await startService("postgresql", { options });
  const read = <O>(definition: object, items: Record<string, string> = {}): O => {
    const values = new Map(Object.entries({ connectionString: String(server.details.url), ...items }));
    return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
  };
  const { default: state } = await import("../../src/components/state/postgresql.v2.ts");
  const own = await openPostgresql(read<PostgresqlSettings>(state), componentHost());
  return {
    server,
    options: read,
    ask: (text, values) => own.read(text, values),
    clear: () =>
      own.script("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS other CASCADE;"),
    async stop() {
      await own.close();
      await server.stop();
    },
  };
}
