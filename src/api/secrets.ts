import { errors, Fault } from "../errors.ts";
import type { Configuration } from "../resource/resource.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { AppScope } from "./call.ts";
import { failures, metadataQuery, textMap } from "./docs.ts";
import { operation } from "./operation.ts";
import { jsonReply, noContent } from "./reply.ts";
import { type Target, targetsOf } from "./target.ts";

const group = { name: "secrets", version: "v1.0" };
const find = targetsOf("secretstores", (_app, target) => target);

const secretFailures = failures({
  401: "ERR_SECRET_STORE_NOT_FOUND",
  403: "ERR_PERMISSION_DENIED: the secret scopes refuse it",
  500: "ERR_SECRET_STORES_NOT_CONFIGURED, ERR_SECRET_GET",
});

export const getSecret = operation(Dapr.method.getSecret, {
  name: "GetSecret",
  group,
  http: {
    verbs: ["GET"],
    path: "/v1.0/secrets/{storeName}/{key}",
    request: (http) => ({
      storeName: http.param("storeName"),
      key: http.param("key"),
      metadata: http.metadata(),
    }),
    reply: ({ data }) => (data === undefined ? noContent : jsonReply(data)),
    docs: {
      summary: "Read one secret",
      query: metadataQuery,
      replies: {
        200: { description: "Its values", contentType: "application/json", schema: textMap },
        204: { description: "The store answered with nothing" },
        ...secretFailures,
      },
    },
  },
  async handle({ storeName, key, metadata }, call) {
    const { app } = call;
    const target = secretTarget(app, storeName);
    if (!isAllowed(app.configuration, storeName, key)) throw errors.SECRET_DENIED(key, storeName);
    try {
      return {
        data: await target.run("get", () => target.component.get(key, metadata), call, { names: [key] }),
      };
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw errors.SECRET_GET(key, storeName, (error as Error).message, { cause: error });
    }
  },
});

export const getBulkSecret = operation(Dapr.method.getBulkSecret, {
  name: "GetBulkSecret",
  group,
  http: {
    verbs: ["GET"],
    path: "/v1.0/secrets/{storeName}/bulk",
    request: (http) => ({ storeName: http.param("storeName"), metadata: http.metadata() }),
    reply: ({ data = {} }) => {
      const secrets = Object.entries(data).map(([key, secret]) => [key, secret.secrets ?? {}]);
      return jsonReply(Object.fromEntries(secrets));
    },
    docs: {
      summary: "Read all secrets the app may see",
      query: metadataQuery,
      replies: {
        200: {
          description: "Values by secret",
          contentType: "application/json",
          schema: { type: "object", additionalProperties: textMap },
        },
        ...secretFailures,
      },
    },
  },
  async handle({ storeName, metadata }, call) {
    const { app } = call;
    const target = secretTarget(app, storeName);
    try {
      const all = await target.run("bulk_get", () => target.component.bulkGet(metadata), call);
      const seen = Object.entries(all).filter(([key]) => isAllowed(app.configuration, storeName, key));
      return { data: Object.fromEntries(seen.map(([key, secrets]) => [key, { secrets }])) };
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw errors.SECRET_BULK_GET(storeName, (error as Error).message, { cause: error });
    }
  },
});

function secretTarget(app: AppScope, name: string): Target<"secretstores"> {
  const target = find(app, name);
  if (target !== undefined) return target;
  if (app.components.list("secretstores").length === 0) throw errors.SECRET_STORES_NOT_CONFIGURED();
  throw errors.SECRET_STORE_NOT_FOUND(name);
}

/** The secret scopes of the Configuration (dapr-api.md §11.1); a store without a scope is open. */
export function isAllowed({ secrets }: Configuration, storeName: string, key: string): boolean {
  const scope = secrets.scopes.find((candidate) => candidate.storeName === storeName);
  if (scope === undefined) return true;
  if (scope.allowedSecrets.length > 0) return scope.allowedSecrets.includes(key);
  if (scope.deniedSecrets.includes(key)) return false;
  return scope.defaultAccess !== "deny";
}
