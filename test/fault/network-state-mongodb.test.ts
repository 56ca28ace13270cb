import { startMongo } from "../contract/mongodb.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.mongodb",
  async start() {
    const { server, open, stop } = await startMongo();
    const openAt = (port: number, seconds = 2) =>
      open({ host: `127.0.0.1:${port}`, operationTimeout: `${seconds}s` });
    return { server, stop, open: openAt };
  },
});
