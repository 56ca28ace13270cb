import mysql from "../../src/components/bindings/mysql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMysql } from "../contract/mysql.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.mysql",
  async start() {
    const { server, url, options, stop } = await startMysql();
    return {
      port: server.port,
      async open(port) {
        const items = { url: url.replace(`:${server.port})`, `:${port})`), timeout: "1s" };
        const binding = await mysql.open(options(mysql, items), componentHost());
        return {
          async call(text) {
            const metadata = { sql: "SELECT ? AS said", params: JSON.stringify([text]) };
            const reply = await binding.invoke?.({ operation: "query", metadata, data: new Uint8Array(0) });
            const [row] = JSON.parse(Buffer.from(reply?.data ?? []).toString()) as [{ said: string }];
            return row.said;
          },
          close: () => binding.close(),
        };
      },
      stop,
    };
  },
});
