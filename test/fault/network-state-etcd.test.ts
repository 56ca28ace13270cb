import etcd from "../../src/components/state/etcd.v2.ts";
import { componentHost } from "../contract/component-host.ts";
import { startEtcd } from "../contract/etcd.ts";
import { networkedState } from "./network-state.ts";

networkedState({
  name: "state.etcd v2",
  async start() {
    const { server, options, stop } = await startEtcd();
    const open = (port: number, seconds = 1) => {
      const items = { endpoints: `127.0.0.1:${port}`, timeout: `${seconds}s` };
      return etcd.open(options(etcd, items), componentHost());
    };
    return { server, open, stop };
  },
});
