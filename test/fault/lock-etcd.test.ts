import etcd from "../../src/components/lock/etcd.ts";
import { componentHost } from "../contract/component-host.ts";
import { startEtcd } from "../contract/etcd.ts";
import { lockFaults } from "./lock-server.ts";

lockFaults({
  name: "lock.etcd",
  async start() {
    const { server, options, stop } = await startEtcd();
    const open = (port: number) =>
      etcd.open(options(etcd, { endpoints: `127.0.0.1:${port}`, timeout: "1s" }), componentHost());
    return { server, open, stop };
  },
});
