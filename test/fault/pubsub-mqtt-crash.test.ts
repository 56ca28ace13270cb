import mqtt3 from "../../src/components/pubsub/mqtt3.ts";
import mqtt5 from "../../src/components/pubsub/mqtt5.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMosquitto } from "../contract/mosquitto.ts";
import { pubsubFaults } from "./pubsub-server.ts";

for (const component of [mqtt3, mqtt5]) {
  pubsubFaults({
    name: component.type,
    async start() {
      const { server, options, stop } = await startMosquitto();
      const open = (items: Record<string, string> = {}) =>
        component.open(options(component, items), componentHost());
      return { server, open, stop };
    },
    hasty: { timeout: "1s", keepAlive: "1s" },
    // Mosquitto confirms before it saves.
    careful: { awaitSave: "true" },
  });
}
