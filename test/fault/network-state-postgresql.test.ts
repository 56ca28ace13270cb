import postgresql from "../../src/components/state/postgresql.v2.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.postgresql v2",
  async start() {
    const { server, options, stop } = await startPostgresql();
    const url = String(server.details.url);
    const open = (port: number) => {
      const connectionString = url.replace(`:${server.port}/`, `:${port}/`);
      return postgresql.open(options(postgresql, { connectionString, timeout: "1s" }), componentHost());
    };
    return { server, open, stop };
  },
});
