import { thisHost } from "../peer/identity.ts";
import type { Host } from "./host.ts";

/** Where peers find this mecha. On a store of one machine the loopback is enough. */
export function announcedAddress(listening: string, host: Host): string {
  if (!isEverywhere(listening)) return listening;
  return host.isShared ? networkAddress(listening, host) : "127.0.0.1";
}

/** Where other machines find it. */
export function networkAddress(listening: string, { env }: Pick<Host, "env">): string {
  return isEverywhere(listening) ? env.DAPR_HOST_IP || thisHost().address : listening;
}

function isEverywhere(listening: string): boolean {
  return listening === "0.0.0.0" || listening === "::";
}
