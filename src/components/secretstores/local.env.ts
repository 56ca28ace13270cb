import { component } from "../../component/component.ts";
import { text } from "../../component/fields.ts";
import type { SecretStore } from "../../component/secret-store.ts";

export default component({
  type: "secretstores.local.env",
  version: "v1",
  status: "stable",
  summary: "Environment variables of the runtime as secrets, without Dapr's own tokens",
  metadata: {
    prefix: text({ description: "only variables that begin with it, asked for without it", default: "" }),
  },
  async open({ prefix }, { env }): Promise<SecretStore> {
    const isVisible = (name: string) => name.startsWith(prefix) && !hidden.has(name.toUpperCase());
    return {
      features: new Set(),
      async get(key) {
        const value = isVisible(prefix + key) ? env[prefix + key] : undefined;
        // As Dapr: an absent variable reads as an empty one.
        return { [key]: value ?? "" };
      },
      async bulkGet() {
        const names = Object.keys(env).filter(isVisible);
        return Object.fromEntries(
          names.map((name) => {
            const key = name.slice(prefix.length);
            return [key, { [key]: env[name] ?? "" }];
          }),
        );
      },
      async close() {},
    };
  },
});

/** What lets a caller in at mecha's own door is no secret for apps to read. */
const hidden = new Set(["APP_API_TOKEN", "DAPR_API_TOKEN"]);
