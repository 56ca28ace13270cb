import mqtt5 from "../../src/components/pubsub/mqtt5.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMosquitto } from "../contract/mosquitto.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.mqtt5",
  async start() {
    const { server, options, stop } = await startMosquitto();
    const open = (port: number) => {
      const items = { url: `tcp://127.0.0.1:${port}`, timeout: "1s", keepAlive: "1s" };
      return mqtt5.open(options(mqtt5, items), componentHost());
    };
    return { server, open, stop };
  },
});
