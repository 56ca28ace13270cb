import { component } from "../../component/component.ts";
import type { StateStore } from "../../component/state-store.ts";
import { openEtcd } from "../clients/etcd.ts";
import { type EtcdLayout, EtcdStateStore, etcdStateFields } from "../clients/etcd-state.ts";

export default component({
  type: "state.etcd",
  version: "v1",
  status: "stable",
  summary:
    "etcd 3.4 or newer, in Dapr's first layout: values as they are, and when they expire only etcd knows",
  metadata: etcdStateFields,
  open: async (options, host): Promise<StateStore> =>
    new EtcdStateStore(await openEtcd(options, host), layout, options),
});

const layout: EtcdLayout = {
  stored: (value) => value,
  read: (value) => ({ value, expiresAtMs: undefined }),
};
