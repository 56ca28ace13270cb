import type { Principal } from "../api/call.ts";
import type { RuntimeOptions } from "./options.ts";

/** Without NAMESPACE an app lives in `default`; resources are filtered only when it is set (dapr-api.md §14). */
export function principalOf(options: RuntimeOptions): Principal {
  return { namespace: options.namespace || "default", appId: options.appId };
}
