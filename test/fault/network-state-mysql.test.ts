import mysql from "../../src/components/state/mysql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMysql } from "../contract/mysql.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.mysql",
  async start() {
    const { server, url, options, stop } = await startMysql();
    const open = (port: number, seconds = 1) => {
      const connectionString = url.replace(`:${server.port})`, `:${port})`);
      return mysql.open(
        options(mysql, { connectionString, timeoutInSeconds: String(seconds), maxConns: "25" }),
        componentHost(),
      );
    };
    return { server, open, stop };
  },
});
