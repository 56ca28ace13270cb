import type { ConfigurationItem } from "../component/configuration-store.ts";
import { errors, Fault } from "../errors.ts";
import type {
  GetConfigurationRequestSchema,
  GetConfigurationResponseSchema,
} from "../wire/dapr/proto/runtime/v1/configuration_pb.js";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import type { Call, HttpCall } from "./call.ts";
import { ChangeQueue } from "./change-queue.ts";
import { pushToApp } from "./configuration-push.ts";
import { type ConfigurationTarget, configurationTarget } from "./configuration-target.ts";
import { failures, metadataQuery, text, textMap } from "./docs.ts";
import { type HttpBinding, httpOnly, operation, streaming } from "./operation.ts";
import { jsonReply, noContent } from "./reply.ts";

const versions = ["v1.0", "v1.0-alpha1"] as const;
const keyQuery = { key: { description: "May be repeated; none means all", schema: text } };
const storeFailures = {
  400: "ERR_CONFIGURATION_STORE_NOT_FOUND",
  500: "ERR_CONFIGURATION_STORE_NOT_CONFIGURED, ERR_CONFIGURATION_GET",
};

export const getConfiguration = operation(
  [Dapr.method.getConfiguration, Dapr.method.getConfigurationAlpha1],
  {
    name: "GetConfiguration",
    group: groupOf("v1.0"),
    http: versions.map(getBinding),
    async handle({ storeName, keys, metadata }, call) {
      const target = configurationTarget(call.app, storeName);
      try {
        return {
          items: await target.run("get", () => target.component.get(keys, metadata), call, { names: keys }),
        };
      } catch (error) {
        if (error instanceof Fault) throw error;
        throw errors.CONFIGURATION_GET(goList(keys), storeName, (error as Error).message, { cause: error });
      }
    },
  },
);

function getBinding(
  version: string,
): HttpBinding<typeof GetConfigurationRequestSchema, typeof GetConfigurationResponseSchema> {
  return {
    verbs: ["GET"],
    path: `/${version}/configuration/{storeName}`,
    group: groupOf(version),
    request: (http) => ({
      storeName: http.param("storeName"),
      keys: http.queryAll("key"),
      metadata: http.metadata(),
    }),
    reply: ({ items = {} }) => (Object.keys(items).length === 0 ? noContent : jsonReply(itemsJson(items))),
    docs: {
      summary: "Read configuration items",
      query: { ...keyQuery, ...metadataQuery },
      replies: {
        200: {
          description: "Items by key",
          contentType: "application/json",
          schema: {
            type: "object",
            additionalProperties: {
              type: "object",
              properties: { value: text, version: text, metadata: textMap },
            },
          },
        },
        204: { description: "No such items" },
        ...failures(storeFailures),
      },
    },
  };
}

/** The stream lives as long as the subscription: its end, or an unsubscribe call with its id, ends both. */
export const subscribeConfiguration = streaming(
  [Dapr.method.subscribeConfiguration, Dapr.method.subscribeConfigurationAlpha1],
  {
    name: "SubscribeConfiguration",
    group: groupOf("v1.0"),
    async handle(requests, send, call) {
      for await (const { storeName, keys, metadata } of requests) {
        const target = configurationTarget(call.app, storeName);
        const queue = new ChangeQueue(call.signal);
        const listener = (items: Items) => queue.push(items);
        const id = await open(call, target, { keys, metadata, listener, ended: () => queue.end() });
        try {
          await send({ id });
          for await (const items of queue) await send({ id, items });
        } finally {
          await target.subscriptions.close(id);
        }
        return;
      }
    },
  },
);

export const subscribeConfigurationHttp = versions.map((version) =>
  httpOnly({
    name: "SubscribeConfiguration",
    group: groupOf(version),
    verbs: ["GET"],
    path: `/${version}/configuration/{storeName}/subscribe`,
    handle: subscribeApp,
    docs: {
      summary: "Have changes posted to the app at /configuration/{store}/{key}",
      query: { ...keyQuery, ...metadataQuery },
      replies: {
        200: {
          description: "The subscription",
          contentType: "application/json",
          schema: { type: "object", properties: { id: text } },
        },
        ...failures({ ...storeFailures, 500: "ERR_APP_CHANNEL_NIL, ERR_CONFIGURATION_SUBSCRIBE" }),
      },
    },
  }),
);

async function subscribeApp(http: HttpCall) {
  const { app } = http;
  const target = configurationTarget(app, http.param("storeName"));
  const { channel } = app;
  if (channel === undefined) throw errors.APP_CHANNEL_NIL();
  const id = await open(http, target, {
    keys: http.queryAll("key"),
    metadata: http.metadata(),
    listener: (items, subscriptionId) => pushToApp(app, channel, target.name, subscriptionId, items),
    ended: () => {},
  });
  return jsonReply({ id });
}

export const unsubscribeConfiguration = operation(
  [Dapr.method.unsubscribeConfiguration, Dapr.method.unsubscribeConfigurationAlpha1],
  {
    name: "UnsubscribeConfiguration",
    group: groupOf("v1.0"),
    async handle({ storeName, id }, call) {
      const target = configurationTarget(call.app, storeName);
      try {
        await unsubscribe(call, target, id);
        return { ok: true };
      } catch (error) {
        return { ok: false, message: (error as Error).message };
      }
    },
  },
);

export const unsubscribeConfigurationHttp = versions.map((version) =>
  httpOnly({
    name: "UnsubscribeConfiguration",
    group: groupOf(version),
    verbs: ["GET"],
    path: `/${version}/configuration/{storeName}/{id}/unsubscribe`,
    async handle(http) {
      await unsubscribe(http, configurationTarget(http.app, http.param("storeName")), http.param("id"));
      return jsonReply({ ok: true });
    },
    docs: {
      summary: "End a subscription",
      replies: {
        200: {
          description: "Ended",
          contentType: "application/json",
          schema: { type: "object", properties: { ok: { type: "boolean" } } },
        },
        ...failures({ ...storeFailures, 500: "ERR_CONFIGURATION_UNSUBSCRIBE" }),
      },
    },
  }),
);

type Items = Record<string, ConfigurationItem>;

interface Wanted {
  keys: string[];
  metadata: Record<string, string>;
  listener(items: Items, id: string): void;
  ended(): void;
}

async function open(call: Call, target: ConfigurationTarget, wanted: Wanted): Promise<string> {
  const { subscriptions, component } = target;
  const { keys, metadata, listener, ended } = wanted;
  const start = (id: string) => component.subscribe(keys, metadata, (items) => listener(items, id));
  // One that opens after its timeout has nobody to listen to it.
  const dispose = (id: string) => void subscriptions.close(id).catch(() => {});
  try {
    return await target.run("subscribe", () => subscriptions.open(start, ended), call, {
      names: keys,
      dispose,
    });
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw errors.CONFIGURATION_SUBSCRIBE(goList(keys), target.name, (error as Error).message, {
      cause: error,
    });
  }
}

async function unsubscribe(call: Call, target: ConfigurationTarget, id: string): Promise<void> {
  try {
    const existed = await target.run("unsubscribe", () => target.subscriptions.close(id), call);
    if (!existed) throw new Error(`subscription with id ${id} does not exist`);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw errors.CONFIGURATION_UNSUBSCRIBE(id, (error as Error).message, { cause: error });
  }
}

function groupOf(version: string): { name: string; version: string } {
  return { name: "configuration", version };
}

/** As Go prints a list of strings: `[a b]`. */
function goList(keys: readonly string[]): string {
  return `[${keys.join(" ")}]`;
}

type ItemInit = { value?: string; version?: string; metadata?: Record<string, string> };

function itemsJson(items: Record<string, ItemInit>): object {
  return Object.fromEntries(Object.entries(items).map(([key, item]) => [key, itemJson(item)]));
}

/** Empty version and metadata are left out. */
export function itemJson({ value = "", version, metadata = {} }: ItemInit): object {
  const extra = Object.keys(metadata).length === 0 ? {} : { metadata };
  return version ? { value, version, ...extra } : { value, ...extra };
}
