import type { Principal } from "../api/call.ts";
import type { RuntimeOptions } from "./options.ts";

/** What the metadata API shows beside Dapr's own: labels as `label.<name>`. */
export function shownMetadata({ labels, extendedMetadata }: RuntimeOptions): Record<string, string> {
  const shown = Object.entries(labels).map(([name, value]) => [`label.${name}`, value]);
  return { ...extendedMetadata, ...Object.fromEntries(shown) };
}

/** Without NAMESPACE an app lives in `default`; resources are filtered only when it is set (dapr-api.md §14). */
export function principalOf(options: RuntimeOptions): Principal {
  return { namespace: options.namespace || "default", appId: options.appId };
}
