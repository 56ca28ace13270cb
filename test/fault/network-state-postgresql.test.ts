import postgresql from "../../src/components/state/postgresql.v2.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.postgresql v2",
  async start() {
    const { server, options, stop } = await startPostgresql();
    const url = String(server.details.url);
    const open = (port: number, seconds = 1) => {
      const connectionString = url.replace(`:${server.port}/`, `:${port}/`);
      const items = { connectionString, timeout: `${seconds}s` };
      return postgresql.open(options(postgresql, items), componentHost());
    };
    return { server, open, stop };
  },
});
