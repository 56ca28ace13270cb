import definition from "../../src/components/bindings/graphql.ts";
import { componentHost } from "../contract/component-host.ts";
import { startGraphql } from "../contract/graphql-server.ts";
import { networkedCalls } from "./network-calls.ts";

const query = "query Echo($text: String!) { echo(text: $text) }";

networkedCalls({
  name: "bindings.graphql",
  async start() {
    const server = await startGraphql();
    return {
      port: server.port,
      async open(port) {
        const endpoint = server.url.replace(String(server.port), String(port));
        const binding = await definition.open({ endpoint, timeout: 1_000 }, componentHost());
        return {
          async call(text) {
            const data = Buffer.from(JSON.stringify({ text }));
            const reply = await binding.invoke?.({ operation: "query", metadata: { query }, data });
            return (JSON.parse(Buffer.from(reply?.data ?? []).toString()) as { echo: string }).echo;
          },
          close: () => binding.close(),
        };
      },
      stop: async () => server.close(),
    };
  },
});
