import v1 from "../../src/components/state/postgresql.ts";
import v2 from "../../src/components/state/postgresql.v2.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { networkedState } from "./network-state.ts";

for (const definition of [v1, v2]) {
  networkedState({
    name: `state.postgresql ${definition.version}`,
    async start() {
      const { server, options, stop } = await startPostgresql();
      const url = String(server.details.url);
      const open = (port: number, seconds = 1) => {
        const connectionString = url.replace(`:${server.port}/`, `:${port}/`);
        const items = { connectionString, timeout: `${seconds}s` };
        return definition.open(options(definition, items) as never, componentHost());
      };
      return { server, open, stop };
    },
  });
}
