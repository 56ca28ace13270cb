import snssqs from "../../src/components/pubsub/aws.snssqs.ts";
import { componentHost } from "../contract/component-host.ts";
import { startMoto } from "../contract/moto.ts";
import { networkedPubSub } from "./network-pubsub.ts";

networkedPubSub({
  name: "pubsub.aws.snssqs",
  async start() {
    const moto = await startMoto();
    const open = (port: number) => {
      const items = {
        ...{ endpoint: `http://127.0.0.1:${port}`, timeout: "1500ms", assetsManagementTimeoutSeconds: "2" },
        ...{ messageVisibilityTimeout: "2", messageWaitTimeSeconds: "1" },
      };
      return snssqs.open(moto.options(snssqs, items), componentHost());
    };
    return { server: moto.server, open, stop: moto.stop };
  },
  atOnce: 5,
});
