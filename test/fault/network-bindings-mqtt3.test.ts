import mqtt3 from "../../src/components/bindings/mqtt3.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMosquitto } from "../contract/mosquitto.ts";
import { networkedPubSub } from "./network-pubsub.ts";

/** A binding has one topic: each subscription of the suite is a binding of its own. */
networkedPubSub({
  name: "bindings.mqtt3",
  async start() {
    const { server, options, stop } = await startMosquitto();
    const openAt = (port: number, topic: string, consumerID: string) => {
      const items = { url: `tcp://127.0.0.1:${port}`, topic, consumerID, timeout: "1s", keepAlive: "1s" };
      return mqtt3.open(options(mqtt3, items), componentHost());
    };
    return {
      server,
      async open(port) {
        const sender = await openAt(port, "none", "sender");
        const readers = new Set([sender]);
        return {
          features: new Set(),
          async publish({ topic, data }) {
            await sender.invoke?.({ operation: "create", data, metadata: { topic } });
          },
          async subscribe({ topic, consumerGroup }, handler) {
            const reader = await openAt(port, topic, consumerGroup);
            readers.add(reader);
            await reader.read?.(async ({ data }) => {
              await handler({ topic, data, contentType: "", metadata: {}, attempt: undefined });
              return undefined;
            });
            return { close: () => reader.close() };
          },
          async close() {
            await Promise.all([...readers].map((one) => one.close()));
          },
        };
      },
      stop,
    };
  },
});
