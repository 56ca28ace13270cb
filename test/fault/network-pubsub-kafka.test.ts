import { freePort } from "../../scripts/free-port.ts";
import kafka from "../../src/components/pubsub/kafka.ts";
import { componentHost } from "../contract/component-host.ts";
import { startKafka } from "../contract/kafka.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.kafka",
  async start() {
    // Kafka tells its clients where it is: there the proxy has to stand.
    const proxyPort = await freePort();
    const { server, options, stop } = await startKafka({ advertisedPort: String(proxyPort) });
    const open = (port: number) => {
      const items = {
        brokers: `127.0.0.1:${port}`,
        readTimeout: "1s",
        dialTimeout: "1s",
        sessionTimeout: "2s",
      };
      return kafka.open(options(kafka, items), componentHost());
    };
    return { server, proxyPort, open, stop };
  },
});
