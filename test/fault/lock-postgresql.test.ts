import postgresql from "../../src/components/lock/postgresql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { lockFaults } from "./lock-server.ts";

lockFaults({
  name: "lock.postgresql",
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
