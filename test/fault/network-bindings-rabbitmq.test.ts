import rabbitmq from "../../src/components/bindings/rabbitmq.ts";
import { until } from "../../src/testing/index.ts";
import { componentHost } from "../contract/component-host.ts";
import { startRabbitmq } from "../contract/rabbitmq.ts";
import { networkedCalls } from "./network-calls.ts";

let queues = 0;

networkedCalls({
  name: "bindings.rabbitmq",
  async start() {
    const { server, url, options, stop } = await startRabbitmq();
    return {
      port: server.port,
      async open(port) {
        const connectionString = url.replace(`:${server.port}`, `:${port}`);
        const times = { timeout: "1s", heartBeat: "1s", reconnectWaitSeconds: "200ms" };
        const items = { connectionString, ...times, queueName: `queue-${++queues}`, durable: "true" };
        const binding = await rabbitmq.open(options(rabbitmq, items), componentHost());
        const seen = new Set<string>();
        await binding.read?.(async ({ data }) => void seen.add(Buffer.from(data).toString()));
        return {
          async call(text) {
            await binding.invoke?.({ operation: "create", metadata: {}, data: Buffer.from(text) });
            await until(() => seen.has(text), "it is delivered", 20_000);
            return text;
          },
          close: () => binding.close(),
        };
      },
      stop,
    };
  },
});
