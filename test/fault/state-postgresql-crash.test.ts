import v1 from "../../src/components/state/postgresql.ts";
import v2 from "../../src/components/state/postgresql.v2.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { stateFaults } from "./state-server.ts";

for (const definition of [v1, v2]) {
  stateFaults({
    name: `state.postgresql ${definition.version}`,
    async start() {
      const { server, options, stop } = await startPostgresql();
      const open = (items?: Record<string, string>) =>
        definition.open(options(definition, items) as never, componentHost());
      return { server, open, stop };
    },
    hasty: { timeout: "1s" },
  });
}
