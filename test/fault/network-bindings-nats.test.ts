import nats from "../../src/components/bindings/nats.ts";
import { componentHost } from "../contract/component-host.ts";
import { startNats } from "../contract/nats.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.nats",
  async start() {
    const server = await startNats();
    const echo = await nats.open(server.options(nats, { subjects: "echo" }), componentHost());
    await echo.read?.(async ({ data }) => data);
    return {
      port: server.server.port,
      async open(port) {
        const natsURL = `nats://127.0.0.1:${port}`;
        const options = server.options<Parameters<typeof nats.open>[0]>(nats, { natsURL, timeout: "1s" });
        const binding = await nats.open(options, componentHost());
        return {
          async call(text) {
            const request = { operation: "request", data: Buffer.from(text), metadata: { subject: "echo" } };
            return Buffer.from((await binding.invoke?.(request))?.data ?? []).toString();
          },
          close: () => binding.close(),
        };
      },
      async stop() {
        await echo.close();
        await server.stop();
      },
    };
  },
});
