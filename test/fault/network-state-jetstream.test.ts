import jetstream from "../../src/components/state/jetstream.ts";
import { componentHost } from "../contract/component-host.ts";
import { startNats } from "../contract/nats.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.jetstream",
  async start() {
    const { server, options, stop } = await startNats();
    const open = (port: number, seconds = 1) => {
      const timeout = `${seconds}s`;
      const items = { natsURL: `nats://127.0.0.1:${port}`, bucket: "b", createBucket: "true", timeout };
      return jetstream.open(options(jetstream, items), componentHost());
    };
    return { server, open, stop };
  },
});
