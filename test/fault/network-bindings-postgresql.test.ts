import postgresql from "../../src/components/bindings/postgresql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPostgresql } from "../contract/postgresql.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.postgresql",
  async start() {
    const { server, options, stop } = await startPostgresql();
    const url = String(server.details.url);
    return {
      port: server.port,
      async open(port) {
        const items = { connectionString: url.replace(`:${server.port}/`, `:${port}/`), timeout: "1s" };
        const binding = await postgresql.open(options(postgresql, items) as never, componentHost());
        return {
          async call(text) {
            const metadata = { sql: "SELECT $1::text", params: JSON.stringify([text]) };
            const reply = await binding.invoke?.({ operation: "query", metadata, data: new Uint8Array(0) });
            const [[said]] = JSON.parse(Buffer.from(reply?.data ?? []).toString()) as [[string]];
            return said;
          },
          close: () => binding.close(),
        };
      },
      stop,
    };
  },
});
