import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { LockStore, UnlockStatus } from "../../component/lock-store.ts";
import { base64, type EtcdConnection, etcdFields, openEtcd, wellFormed } from "../clients/etcd.ts";

export default component({
  type: "lock.etcd",
  version: "v1",
  status: "beta",
  summary: "etcd 3.4 or newer: a key with a lease for each lock; Dapr has no such component",
  metadata: {
    ...etcdFields,
    keyPrefixPath: text({ description: "what stands before each key", default: "" }),
  },
  open: async (options, host): Promise<LockStore> =>
    new EtcdLocks(await openEtcd(options, host), options.keyPrefixPath),
});

class EtcdLocks implements LockStore {
  readonly #etcd: EtcdConnection;
  readonly #prefix: string;

  constructor(etcd: EtcdConnection, prefix: string) {
    this.#etcd = etcd;
    this.#prefix = prefix;
  }

  async tryLock(resourceId: string, owner: string, expirySeconds: number): Promise<number | undefined> {
    const key = this.#key(resourceId);
    const value = base64(wellFormed("lockOwner", owner));
    // Most tries find it taken: those cost no lease.
    if ((await this.#etcd.read("kv/range", { key })).kvs !== undefined) return undefined;
    const { ID: lease = "" } = await this.#etcd.write("lease/grant", { TTL: String(expirySeconds) });
    const taken = await this.#etcd.write("kv/txn", {
      compare: [{ key, target: "CREATE", result: "EQUAL", create_revision: "0" }],
      success: [{ request_put: { key, value, lease } }],
    });
    // The revision of the whole store, which this write has raised.
    if (taken.succeeded) return Number(taken.header?.revision);
    await this.#revoke(lease);
    return undefined;
  }

  async unlock(resourceId: string, owner: string): Promise<UnlockStatus> {
    const key = this.#key(resourceId);
    const value = base64(wellFormed("lockOwner", owner));
    const answer = await this.#etcd.write("kv/txn", {
      compare: [{ key, target: "VALUE", result: "EQUAL", value }],
      success: [{ request_range: { key } }, { request_delete_range: { key } }],
      failure: [{ request_range: { key } }],
    });
    const [held] = answer.responses?.[0]?.response_range?.kvs ?? [];
    if (held === undefined) return "absent";
    if (!answer.succeeded) return "others";
    await this.#revoke(held.lease ?? "0");
    return "success";
  }

  close(): Promise<void> {
    return this.#etcd.close();
  }

  #key(resourceId: string): string {
    return base64(this.#prefix + wellFormed("resourceId", resourceId));
  }

  /** It would end by itself. */
  async #revoke(lease: string): Promise<void> {
    await this.#etcd.write("lease/revoke", { ID: lease }).catch(() => undefined);
  }
}
