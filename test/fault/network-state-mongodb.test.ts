import { startMongo } from "../contract/mongodb.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.mongodb",
  cycles: 50,
  async start() {
    const { server, open, stop } = await startMongo();
    return { server, stop, open: (port) => open({ host: `127.0.0.1:${port}`, operationTimeout: "2s" }) };
  },
});
