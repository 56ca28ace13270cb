import { component } from "../../component/component.ts";
import type { LockStore, UnlockStatus } from "../../component/lock-store.ts";
import type { Random } from "../../edges/random.ts";
import type { Store } from "../store/store.ts";
import { lockLease } from "./spaces.ts";

export function lockOnStore(store: Store) {
  return component({
    type: "lock.mecha",
    version: "v1",
    status: "stable",
    summary: "Locks with an expiry in mecha's own durable store, across the processes that share it",
    metadata: {},
    async open(_options, { name, namespace, edges }): Promise<LockStore> {
      return new MechaLockStore(store, (resourceId) => lockLease(namespace, name, resourceId), edges.random);
    },
  });
}

class MechaLockStore implements LockStore {
  readonly #store: Store;
  readonly #leaseName: (resourceId: string) => string;
  readonly #random: Random;

  constructor(store: Store, leaseName: (resourceId: string) => string, random: Random) {
    this.#store = store;
    this.#leaseName = leaseName;
    this.#random = random;
  }

  async tryLock(resourceId: string, owner: string, expirySeconds: number): Promise<number | undefined> {
    // A lease may be taken again by its owner, a Dapr lock may not: so each try is an owner of its own.
    const once = `${this.#random.uuid()} ${owner}`;
    const result = await this.#store.acquireLease(this.#leaseName(resourceId), once, expirySeconds * 1000);
    return result.held ? result.token : undefined;
  }

  async unlock(resourceId: string, owner: string): Promise<UnlockStatus> {
    const name = this.#leaseName(resourceId);
    const lease = await this.#store.getLease(name);
    if (!lease) return "absent";
    if (lease.owner.slice(lease.owner.indexOf(" ") + 1) !== owner) return "others";
    // Between the two calls the lock may have expired, and even have been taken by another: the token tells.
    return (await this.#store.releaseLease(name, lease.token)) ? "success" : "absent";
  }

  async close(): Promise<void> {}
}
