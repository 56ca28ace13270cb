import { describe } from "bun:test";
import type { StoreHome } from "./store/harness.ts";
import { keyContract } from "./store/keys.ts";
import { logContract } from "./store/log.ts";
import { feedContract, historyContract, leaseContract, lifeContract, timerContract } from "./store/rest.ts";

/** What every home of the store must do, written against the interface alone. */
export function storeContract(name: string, makeHome: () => Promise<StoreHome>): void {
  describe(`store ${name}`, () => {
    keyContract(makeHome);
    logContract(makeHome);
    timerContract(makeHome);
    historyContract(makeHome);
    leaseContract(makeHome);
    feedContract(makeHome);
    lifeContract(makeHome);
  });
}
