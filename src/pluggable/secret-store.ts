import type { SecretStore } from "../component/secret-store.ts";
import * as wire from "../wire/dapr/proto/components/v1/components_pb.js";
import type { PluggedLink } from "./link.ts";

const multiple = "MULTIPLE_KEY_VALUES_PER_SECRET";

export async function openSecretStore(link: PluggedLink): Promise<SecretStore> {
  const { features } = await link.call(
    {
      method: "SecretStore/Features",
      request: wire.EmptySchema,
      reply: wire.FeaturesResponseSchema,
      isRead: true,
    },
    {},
  );
  return {
    features: new Set(features.includes(multiple) ? [multiple] : []),
    async get(key, metadata) {
      const { data } = await link.call(
        {
          ...{
            method: "SecretStore/Get",
            request: wire.GetSecretRequestSchema,
            reply: wire.GetSecretResponseSchema,
          },
          isRead: true,
        },
        { key, metadata },
      );
      return data;
    },
    async bulkGet(metadata) {
      const { data } = await link.call(
        {
          method: "SecretStore/BulkGet",
          ...{
            request: wire.BulkGetSecretRequestSchema,
            reply: wire.BulkGetSecretResponseSchema,
            isRead: true,
          },
        },
        { metadata },
      );
      return Object.fromEntries(Object.entries(data).map(([key, { secrets }]) => [key, secrets]));
    },
    close: () => link.close(),
  };
}
