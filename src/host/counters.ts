import { type Store, StoreConflict } from "../engine/store/store.ts";
import type { Counters } from "../policy/use/layer.ts";

const space = "ratelimit";

/** Counters in the store that all mechas of a folder, or of a database, share. */
export function countersOf(store: Store): Counters {
  return {
    async read(key) {
      const entry = await store.get(space, key);
      return entry && { value: Buffer.from(entry.value).toString("utf8"), etag: entry.etag };
    },
    async write(key, { value, etag, expiresAtMs }) {
      const demand = etag === undefined ? { ifAbsent: true } : { etag };
      try {
        await store.commit([{ kind: "put", space, key, value: Buffer.from(value), expiresAtMs, ...demand }]);
        return true;
      } catch (error) {
        if (error instanceof StoreConflict) return false;
        throw error;
      }
    },
  };
}
