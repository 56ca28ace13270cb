import pulsar from "../../src/components/pubsub/pulsar.ts";
import { componentHost } from "../contract/component-host.ts";
import { startPulsar } from "../contract/pulsar.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.pulsar",
  async start() {
    const { server, options, stop } = await startPulsar();
    const open = (port: number) => {
      const items = { host: `127.0.0.1:${port}`, timeout: "1s" };
      return pulsar.open(options(pulsar, items), componentHost());
    };
    // A fresh broker takes more than that for its first topic.
    const first = await pulsar.open(options(pulsar), componentHost());
    await first.publish({ topic: "first", data: Buffer.from("x"), contentType: "", metadata: {} });
    await first.close();
    return { server, open, stop };
  },
});
