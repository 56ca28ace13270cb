import type { Kept, Vault } from "../control/identity/vault.ts";
import { type Store, StoreConflict } from "../engine/store/store.ts";

const space = "identity";
const key = "authority";

/** The authority of all machines that share a store: who can read the store may issue in its name. */
export function createStoreVault(store: Pick<Store, "get" | "commit" | "watch">): Vault {
  return {
    place: "the shared store",
    async read(): Promise<Kept | undefined> {
      const entry = await store.get(space, key);
      return entry && { text: Buffer.from(entry.value).toString("utf8"), version: entry.etag };
    },
    async write(text, before) {
      const condition = before === undefined ? { ifAbsent: true } : { etag: before.version };
      try {
        await store.commit([{ kind: "put", space, key, value: Buffer.from(text), ...condition }]);
        return true;
      } catch (error) {
        if (error instanceof StoreConflict) return false;
        throw error;
      }
    },
    watch: (listener) => store.watch(`keys:${space}`, () => listener()),
  };
}
