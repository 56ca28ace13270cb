import { startMemcached } from "../contract/memcached.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.memcached",
  async start() {
    const { server, open, stop } = await startMemcached();
    const openAt = (port: number, seconds = 1) =>
      open({ hosts: `127.0.0.1:${port}`, timeout: `${seconds}s` });
    return { server, stop, open: openAt };
  },
});
