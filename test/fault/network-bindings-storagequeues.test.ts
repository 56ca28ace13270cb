import queues from "../../src/components/bindings/azure.storagequeues.ts";
import { until } from "../../src/testing/index.ts";
import { startAzurite } from "../contract/azurite.ts";
import { componentHost } from "../contract/component-host.ts";
import { networkedCalls } from "./network-calls.ts";

networkedCalls({
  name: "bindings.azure.storagequeues",
  // Each makes its queue and puts a message, in Azurite: 150 ms.
  cycles: 80,
  async start() {
    const azurite = await startAzurite();
    let count = 0;
    return {
      port: Number(azurite.server.details.queuePort),
      async open(port) {
        const queueEndpoint = `http://127.0.0.1:${port}`;
        const items = { queueName: `net-${++count}`, queueEndpoint, timeout: "1s", visibilityTimeout: "1s" };
        const options = azurite.options<Parameters<typeof queues.open>[0]>(queues, {
          ...items,
          ...{ pollingInterval: "100ms", concurrency: "32" },
          // The emulator spoils letters of several bytes that come in pieces.
          ...{ encodeBase64: "true", decodeBase64: "true" },
        });
        const binding = await queues.open(options, componentHost());
        const seen = new Set<string>();
        await binding.read?.(async ({ data }) => {
          seen.add(Buffer.from(data).toString());
          return undefined;
        });
        return {
          async call(text) {
            await binding.invoke?.({ operation: "create", data: Buffer.from(text), metadata: {} });
            await until(() => seen.has(text), `${text.slice(0, 20)} is there`, 20_000);
            return text;
          },
          close: () => binding.close(),
        };
      },
      stop: () => azurite.server.stop(),
    };
  },
});
