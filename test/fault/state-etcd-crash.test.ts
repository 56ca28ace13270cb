import etcd from "../../src/components/state/etcd.ts";
import { componentHost } from "../contract/component-host.ts";
import { startEtcd } from "../contract/etcd.ts";
import { stateFaults } from "./state-server.ts";

stateFaults({
  name: "state.etcd",
  async start() {
    const { server, options, stop } = await startEtcd();
    const open = (items?: Record<string, string>) => etcd.open(options(etcd, items), componentHost());
    return { server, open, stop };
  },
  hasty: { timeout: "1s" },
});
