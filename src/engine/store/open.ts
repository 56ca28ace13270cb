import type { Clock } from "../../edges/clock.ts";
import { isPostgresqlAddress, parseStoreAddress, StoreAddressRefused } from "./postgresql/address.ts";
import { openSqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

export interface StoreChoice {
  /** `postgresql://…`; `undefined` or empty: the embedded store in the data folder. */
  address: string | undefined;
  folder: string;
  clock?: Clock;
}

/** Opens the home that the configuration names. */
export async function openStore({ address, folder, clock }: StoreChoice): Promise<Store> {
  const timed = clock ? { clock } : {};
  if (!isShared(address)) return openSqliteStore({ folder, ...timed });
  // Loaded here: a mecha on its embedded store never pays for it.
  const { openPostgresqlStore } = await import("./postgresql.ts");
  return openPostgresqlStore({ address, ...timed });
}

/** Whether processes on other machines may share it. Rejects what is no address of a store. */
export function isShared(address: string | undefined): address is string {
  if (address === undefined || address === "") return false;
  if (!isPostgresqlAddress(address)) {
    throw new StoreAddressRefused(
      "the store's address is not one of PostgreSQL: write postgresql://user:password@host:port/database",
    );
  }
  return true;
}

/** For logs and banners: never with the password. */
export function shownStore(address: string | undefined, folder: string): string {
  return isShared(address) ? parseStoreAddress(address).shown : folder;
}
