import type { Components, LoadedComponent } from "../component/components.ts";
import { keyPrefixOf } from "../component/state-key.ts";
import { errors } from "../errors.ts";
import { mapBounded } from "../kit/bounded.ts";
import type { Purge } from "../policy/cache/answer-store.ts";
import { HttpCaches, type HttpCachesContext } from "../policy/cache/http-caches.ts";
import type { KeyValues } from "../policy/cache/shared-store.ts";
import type { HttpCall } from "./call.ts";
import { failures, text } from "./docs.ts";
import { httpOnly } from "./operation.ts";
import { jsonReply } from "./reply.ts";

const group = { name: "cache", version: "v1.0-alpha1" };
const path = "/v1.0-alpha1/mecha/cache";
const count = { type: "integer" };

export const listCaches = httpOnly({
  name: "ListCaches",
  group,
  verbs: ["GET"],
  path,
  handle: ({ app }) => jsonReply({ caches: app.policies.caches?.states() ?? [] }),
  docs: {
    summary: "What is kept of answers to the app's calls, and what became of its requests",
    replies: {
      200: {
        description: "The caches; without `entries` and `bytes` they are in a state store",
        contentType: "application/json",
        schema: {
          type: "object",
          properties: {
            caches: {
              type: "array",
              items: {
                type: "object",
                required: ["target", "store", "counts"],
                properties: {
                  ...{ target: text, store: text, entries: count, bytes: count },
                  counts: { type: "object", additionalProperties: count },
                },
              },
            },
          },
        },
      },
    },
  },
});

export const purgeCache = httpOnly({
  name: "PurgeCache",
  group,
  verbs: ["DELETE"],
  path,
  async handle(http) {
    const purge = purgeOf(http);
    try {
      const entries = (await http.app.policies.caches?.purge(purge)) ?? 0;
      return jsonReply({ entries });
    } catch (error) {
      throw errors.CACHE_STORE((error as Error).message, { cause: error });
    }
  },
  docs: {
    summary: "Forget stored answers by tag, or of an app or endpoint and one of its paths",
    query: {
      tag: { description: "A tag, as the policy's `tags` gives them", schema: text },
      app: { description: "The app or HTTPEndpoint that was called, or `Gateway/NAME` …", schema: text },
      path: { description: "With `app`: a path, whatever its query", schema: text },
    },
    replies: {
      200: {
        description: "Forgotten. `entries` counts those in memory",
        contentType: "application/json",
        schema: { type: "object", required: ["entries"], properties: { entries: { type: "integer" } } },
      },
      ...failures({ 400: "ERR_CACHE_PURGE", 503: "ERR_CACHE_STORE: the state store did not answer" }),
    },
  },
});

function purgeOf(http: HttpCall): Purge {
  const tag = http.query("tag");
  const id = http.query("app");
  const path = http.query("path");
  if (tag !== undefined && tag !== "" && id === undefined && path === undefined) return { tag };
  if (id === undefined || id === "" || tag !== undefined)
    throw errors.CACHE_PURGE("give a tag, or an app and perhaps a path");
  return { id, path: path === undefined || path.startsWith("/") ? path : `/${path}` };
}

export type HttpCachesRequest = Omit<HttpCachesContext, "keyValues" | "notCached"> & {
  components: Components;
};

/** The caches of an app's calls, with the state components it may use. */
export function openHttpCaches({ components, ...context }: HttpCachesRequest): HttpCaches {
  const { appId, namespace } = context.principal;
  return new HttpCaches({
    ...context,
    keyValues(name) {
      const loaded = components.find("state", name);
      // What one app may see of another is for that one alone, even where apps share their keys.
      const own = `mecha-cache||${namespace}.${appId}||`;
      return loaded && keyValuesOf(loaded, keyPrefixOf({ appId, namespace }, loaded) + own);
    },
    notCached() {
      const { code, http, message } = errors.NOT_CACHED();
      const headers = ["Content-Type", "application/json", "Cache-Status", "mecha; detail=only-if-cached"];
      return { status: http, headers, body: JSON.stringify({ errorCode: code, message }) };
    },
  });
}

const readsAtOnceMax = 8;
const noMetadata: Record<string, string> = {};

/** Keys that no app can name: theirs hold no `||`. */
function keyValuesOf({ instance }: LoadedComponent<"state">, prefix: string): KeyValues {
  return {
    async get(keys) {
      const requests = keys.map((key) => ({ key: prefix + key, metadata: noMetadata }));
      if (instance.bulkGet === undefined || keys.length === 1) {
        return mapBounded(requests, readsAtOnceMax, async (one) => (await instance.get(one))?.value);
      }
      const found = new Map((await instance.bulkGet(requests)).map(({ key, value }) => [key, value]));
      return requests.map(({ key }) => found.get(key));
    },
    set: (key, value, ttlSeconds) =>
      instance.set({ key: prefix + key, value, ttlSeconds, metadata: noMetadata }),
    delete: (key) => instance.delete({ key: prefix + key, metadata: noMetadata }),
  };
}
