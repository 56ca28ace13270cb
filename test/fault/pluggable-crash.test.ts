import { startPlugged } from "../contract/pluggable.ts";
import { pubsubFaults } from "./pubsub-server.ts";
import { stateFaults } from "./state-server.ts";

const hasty = { callTimeout: "300ms" };

stateFaults({
  name: "state.kept, a pluggable component",
  async start() {
    const { server, open, stop } = await startPlugged();
    return { server, open: (items) => open("state.kept", items), stop };
  },
  hasty,
});

pubsubFaults({
  name: "pubsub.kept, a pluggable component",
  async start() {
    const { server, open, stop } = await startPlugged();
    return { server, open: (items) => open("pubsub.kept", items), stop };
  },
  hasty,
});
