import jetstream from "../../src/components/state/jetstream.ts";
import { componentHost } from "../contract/component-host.ts";
import { startNats } from "../contract/nats.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({
  name: "state.jetstream",
  async start() {
    const { server, options, stop } = await startNats();
    const open = (items: Record<string, string> = {}) =>
      jetstream.open(options(jetstream, { bucket: "b", createBucket: "true", ...items }), componentHost());
    return { server, open, stop };
  },
  hasty: { timeout: "1s" },
});
