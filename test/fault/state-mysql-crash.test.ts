import mysql from "../../src/components/state/mysql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMysql } from "../contract/mysql.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({
  name: "state.mysql",
  async start() {
    const { server, options, stop } = await startMysql();
    const open = (items?: Record<string, string>) => mysql.open(options(mysql, items), componentHost());
    return { server, open, stop };
  },
  hasty: { timeoutInSeconds: "1" },
});
