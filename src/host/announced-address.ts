import { thisHost } from "../peer/identity.ts";
import type { Host } from "./host.ts";

/** Where peers find this mecha. On a store of one machine the loopback is enough. */
export function announcedAddress(listening: string, host: Host): string {
  if (listening !== "0.0.0.0" && listening !== "::") return listening;
  if (!host.isShared) return "127.0.0.1";
  return host.env.DAPR_HOST_IP || thisHost().address;
}
