import { startMemcached } from "../contract/memcached.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.memcached",
  async start() {
    const { server, open, stop } = await startMemcached();
    return { server, stop, open: (port) => open({ hosts: `127.0.0.1:${port}` }) };
  },
});
