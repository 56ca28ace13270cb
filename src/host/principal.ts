import type { Principal } from "../api/call.ts";
import type { MutualTls } from "./mutual-tls.ts";
import type { RuntimeOptions } from "./options.ts";

/** What the metadata API shows beside Dapr's own: labels as `label.<name>`, and mTLS as it is. */
export function openShownMetadata(
  { labels, extendedMetadata }: RuntimeOptions,
  security: MutualTls | undefined,
): Map<string, string> {
  const shown = new Map(Object.entries(extendedMetadata));
  for (const [name, value] of Object.entries(labels)) shown.set(`label.${name}`, value);
  const showSecurity = (): void => {
    for (const [name, value] of Object.entries(security?.shown ?? {})) shown.set(name, value);
  };
  showSecurity();
  security?.onChange(showSecurity);
  return shown;
}

/** Without NAMESPACE an app lives in `default`; resources are filtered only when it is set (dapr-api.md §14). */
export function principalOf(options: RuntimeOptions): Principal {
  return { namespace: options.namespace || "default", appId: options.appId };
}
