// A real MariaDB for the contract suites: one server for a file of tests.

import type { ComponentDefinition, ComponentKind } from "../../src/component/component.ts";
import { parseOptions } from "../../src/component/parse-options.ts";
import { MysqlConnections } from "../../src/components/clients/mysql.ts";
import { mysqlAddress } from "../../src/components/clients/mysql-address.ts";
import { realEdges } from "../../src/edges/edges.ts";
import { type Service, startService } from "../services.ts";

export interface TestMysql {
  server: Service;
  url: string;
  /** The metadata of a component, as the loader reads it. */
  options<O>(definition: { metadata: object }, items?: Record<string, string>): O;
  /** For looking and writing behind the component's back. */
  ask<Row extends object>(text: string): Promise<Row[]>;
  /** Takes all tables away. */
  clear(): Promise<void>;
  stop(): Promise<void>;
}

const schema = "dapr_state_store";

export async function startMysql(options: Record<string, string> = {}): Promise<TestMysql> {
  const server = await startService("mariadb", { options });
  const url = String(server.details.url);
  const settings = { timeoutMs: 10_000, connectionsMax: 1, edges: realEdges() };
  const own = await MysqlConnections.open(mysqlAddress("url", url, undefined), settings);
  const ask = async <Row extends object>(text: string) => (await own.ask({ text, values: [] })) as Row[];
  return {
    server,
    url,
    options<O>(definition: object, items: Record<string, string> = {}): O {
      const values = new Map(Object.entries({ connectionString: url, url, ...items }));
      return parseOptions(definition as ComponentDefinition<ComponentKind>, values).options as O;
    },
    ask,
    clear: async () => void (await ask(`DROP DATABASE IF EXISTS ${schema}`)),
    async stop() {
      await own.close();
      await server.stop();
    },
  };
}
