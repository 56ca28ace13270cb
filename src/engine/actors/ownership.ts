import { type Mutation, type Store, StoreConflict } from "../store/store.ts";
import { keyOf } from "./active-actor.ts";
import type { Cluster, HostRecord } from "./cluster.ts";
import type { ActorRef, Fence } from "./engine.ts";

export type Claim = { kind: "mine" } | { kind: "other"; host: HostRecord } | { kind: "again" };

interface Owner {
  hostId: string;
  token: number;
}

/**
 * Who has an actor, as the store knows it: one record per active actor, naming the lease it was taken under. A record
 * counts while that lease is held; both are checked in the commit that changes anything, so views that differ for a
 * moment never make two owners.
 */
export class Ownership {
  readonly #store: Store;
  readonly #cluster: Cluster;
  readonly #space: string;

  constructor(store: Store, cluster: Cluster, clusterName: string) {
    this.#store = store;
    this.#cluster = cluster;
    this.#space = `actors:${clusterName}`;
  }

  /** Takes the actor, or says who has it. `again`: things changed meanwhile. */
  async claim(actor: ActorRef, fence: Fence, hostId: string): Promise<Claim> {
    const key = keyOf(actor);
    const value = Buffer.from(JSON.stringify({ hostId, token: fence.token } satisfies Owner));
    const put = { kind: "put", space: this.#space, key, value } as const;
    if (await this.#commit(fence, [{ ...put, ifAbsent: true }])) return { kind: "mine" };
    const entry = await this.#store.get(this.#space, key);
    if (entry === undefined) return { kind: "again" };
    const owner = JSON.parse(Buffer.from(entry.value).toString("utf8")) as Owner;
    if (owner.hostId === hostId && owner.token === fence.token) return { kind: "mine" };
    const theirs = { lease: this.#cluster.leaseOf(owner.hostId), token: owner.token };
    if (await this.#cluster.isHeld(theirs)) {
      const host = this.#cluster.find(owner.hostId);
      if (host !== undefined) return { kind: "other", host };
      await this.#cluster.refresh();
      return { kind: "again" };
    }
    if (owner.hostId !== hostId) await this.#cluster.shutOut(owner.hostId);
    return { kind: (await this.#commit(fence, [{ ...put, etag: entry.etag }])) ? "mine" : "again" };
  }

  /** Lets actors go. What another host has by now stays. */
  async release(actors: readonly ActorRef[], fence: Fence): Promise<void> {
    const deletions = actors.map(
      (actor): Mutation => ({
        kind: "delete",
        space: this.#space,
        key: keyOf(actor),
      }),
    );
    await this.#commit(fence, deletions);
  }

  /** `false`: somebody else was first, or this host's lease is lost. */
  async #commit({ lease, token }: Fence, mutations: Mutation[]): Promise<boolean> {
    try {
      await this.#store.commit([{ kind: "guard", lease, token }, ...mutations]);
      return true;
    } catch (error) {
      if (error instanceof StoreConflict) return false;
      throw error;
    }
  }
}
