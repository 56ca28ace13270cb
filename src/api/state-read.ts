import type { BulkEntry, GetRequest, QueryResult, StateEntry, StateQuery } from "../component/state-store.ts";
import { errors } from "../errors.ts";
import { after } from "../kit/after.ts";
import { mapBounded } from "../kit/bounded.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import { anyJson, failures, metadataQuery, text, textMap } from "./docs.ts";
import { operation } from "./operation.ts";
import { jsonTextReply, noContent, pushMetadata } from "./reply.ts";
import { consistencyOf, storeFault } from "./state-item.ts";
import { members as membersOf, parseBody, readBulkGet } from "./state-json.ts";
import { fullKey, ownKey, type StateTarget, stateTarget } from "./state-target.ts";

const group = { name: "state", version: "v1.0" };
const noMetadata: Record<string, string> = Object.freeze({});
const nothing = new Uint8Array(0);
const parallelismDefault = 10;
const parallelismMax = 100;

const storeFailures = {
  400: "ERR_STATE_STORE_NOT_FOUND, ERR_MALFORMED_REQUEST",
  500: "ERR_STATE_STORE_NOT_CONFIGURED, ERR_STATE_GET",
};

export const getState = operation(Dapr.method.getState, {
  name: "GetState",
  group,
  http: {
    verbs: ["GET"],
    path: "/v1.0/state/{storeName}/{key}",
    request: (http) => ({
      storeName: http.param("storeName"),
      key: http.param("key"),
      consistency: consistencyCode(http.query("consistency")),
      metadata: http.metadata(),
    }),
    reply: ({ data = nothing, etag, metadata = noMetadata }) => {
      if (data.length === 0) return noContent;
      const headers = ["Content-Type", "application/json"];
      if (etag) headers.push("ETag", etag);
      pushMetadata(headers, metadata);
      return { status: 200, headers, body: data };
    },
    docs: {
      summary: "Read one value",
      query: {
        consistency: { description: "A hint", schema: { enum: ["eventual", "strong"] } },
        ...metadataQuery,
      },
      replies: {
        200: { description: "The value as it was stored", schema: anyJson, contentType: "application/json" },
        204: { description: "There is no such key" },
        ...failures(storeFailures),
      },
    },
  },
  async handle({ storeName, key, consistency, metadata }, call) {
    const { app } = call;
    const target = stateTarget(app, storeName);
    const request: GetRequest = {
      key: fullKey(target, key),
      consistency: consistencyOf(consistency),
      metadata,
    };
    try {
      const entry = await target.run("get", () => target.store.get(request), call, { names: [request.key] });
      return entry === undefined ? {} : responseOf(target, entry);
    } catch (error) {
      throw storeFault(error, (why, options) => errors.STATE_GET(key, storeName, why, options));
    }
  },
});

export const getBulkState = operation(Dapr.method.getBulkState, {
  name: "GetBulkState",
  group,
  http: {
    verbs: ["POST", "PUT"],
    path: "/v1.0/state/{storeName}/bulk",
    request: (http) => {
      const storeName = http.param("storeName");
      stateTarget(http.app, storeName);
      return after(http.jsonText(), (body) => {
        const { keys, parallelism, metadata } = readBulkGet(body);
        return { storeName, keys, parallelism, metadata: { ...metadata, ...http.metadata() } };
      });
    },
    reply: ({ items = [] }) => jsonTextReply(`[${items.map(bulkItemText).join(",")}]\n`),
    docs: {
      summary: "Read many values",
      query: metadataQuery,
      body: {
        "application/json": {
          type: "object",
          properties: {
            keys: { type: "array", items: text },
            parallelism: { type: "integer", default: parallelismDefault },
            metadata: textMap,
          },
        },
      },
      replies: {
        200: {
          description: "One item per key; absent keys have only their key",
          contentType: "application/json",
          schema: {
            type: "array",
            items: {
              type: "object",
              properties: { key: text, data: anyJson, etag: text, metadata: textMap, error: text },
            },
          },
        },
        ...failures({ ...storeFailures, 500: "ERR_STATE_STORE_NOT_CONFIGURED, ERR_STATE_BULK_GET" }),
      },
    },
  },
  async handle({ storeName, keys, parallelism, metadata }, call) {
    const { app } = call;
    const target = stateTarget(app, storeName);
    if (keys.length === 0) return { items: [] };
    const requests = keys.map((key): GetRequest => ({ key: fullKey(target, key), metadata }));
    const width = Math.min(parallelism > 0 ? parallelism : parallelismDefault, parallelismMax);
    try {
      const names = requests.map((request) => request.key);
      const read = () => readMany(target, requests, width);
      const found = await target.run("bulk_get", read, call, { names });
      return {
        items: keys.map((key, index) => bulkItemOf(target, key, found.get(requests[index]?.key ?? ""))),
      };
    } catch (error) {
      throw storeFault(error, (why, options) => errors.STATE_BULK_GET(why, options));
    }
  },
});

export const queryState = operation(Dapr.method.queryStateAlpha1, {
  name: "QueryStateAlpha1",
  group: { name: "state", version: "v1.0-alpha1" },
  http: {
    verbs: ["POST", "PUT"],
    path: "/v1.0-alpha1/state/{storeName}/query",
    request: (http) => {
      const storeName = http.param("storeName");
      stateTarget(http.app, storeName);
      return after(http.jsonText(), (query) => ({ storeName, query, metadata: http.metadata() }));
    },
    reply: ({ results = [], token, metadata = noMetadata }) => {
      if (results.length === 0) return noContent;
      const items = results.map((item) => bulkItemText({ ...item, metadata: noMetadata })).join(",");
      const page = token ? `,"token":${JSON.stringify(token)}` : "";
      const extra = isEmpty(metadata) ? "" : `,"metadata":${JSON.stringify(metadata)}`;
      return jsonTextReply(`{"results":[${items}]${page}${extra}}\n`);
    },
    docs: {
      summary: "Query values by their content",
      query: metadataQuery,
      body: { "application/json": { type: "object" } },
      replies: {
        200: {
          description: "A page of results",
          contentType: "application/json",
          schema: {
            type: "object",
            properties: {
              results: {
                type: "array",
                items: { type: "object", properties: { key: text, data: anyJson, etag: text } },
              },
              token: text,
              metadata: textMap,
            },
          },
        },
        204: { description: "No results" },
        ...failures({
          400: "ERR_STATE_STORE_NOT_FOUND",
          500: "ERR_STATE_STORE_NOT_CONFIGURED, ERR_STATE_STORE_NOT_SUPPORTED, ERR_STATE_QUERY",
        }),
      },
    },
  },
  async handle({ storeName, query, metadata }, call) {
    const { app } = call;
    const target = stateTarget(app, storeName);
    const resource = { resource: { type: "state", name: storeName } };
    if (target.store.query === undefined) throw errors.STATE_QUERY_NOT_SUPPORTED(resource);
    if (target.cipher !== undefined) {
      throw errors.STATE_QUERY(storeName, "cannot query encrypted store", resource);
    }
    const parsed = readQuery(storeName, query);
    try {
      return ownPage(target, await target.run("query", () => runQuery(target, parsed, metadata), call));
    } catch (error) {
      throw errors.STATE_QUERY(storeName, (error as Error).message, { ...resource, cause: error });
    }
  },
});

async function runQuery(
  { store, prefix }: StateTarget,
  query: StateQuery,
  metadata: Record<string, string>,
): Promise<QueryResult> {
  // Stores that can look only at the app's own keys, so that pages have no holes.
  return (
    (await store.query?.({ ...query, keyPrefix: prefix }, metadata)) ?? {
      results: [],
      token: "",
      metadata: noMetadata,
    }
  );
}

/** Queries see the whole store: what belongs to others is left out. */
function ownPage(target: StateTarget, { results, token, metadata }: QueryResult) {
  const own = results.filter(({ key }) => key.startsWith(target.prefix));
  const items = own.map(({ key, value, etag }) => ({ key: ownKey(target, key), data: value, etag }));
  return { results: items, token, metadata };
}

function readQuery(store: string, query: string): StateQuery {
  try {
    return membersOf(parseBody(query), "the query") as StateQuery;
  } catch (error) {
    throw errors.STATE_QUERY(store, `failed to parse JSON query body: ${(error as Error).message}`, {
      cause: error,
      resource: { type: "state", name: store },
    });
  }
}

function responseOf(target: StateTarget, entry: StateEntry) {
  const data = target.cipher === undefined ? entry.value : target.cipher.decrypt(entry.value);
  const { expiresAtMs } = entry;
  const metadata = expiresAtMs === undefined ? noMetadata : { ttlExpireTime: rfc3339(expiresAtMs) };
  return { data, etag: entry.etag, metadata };
}

/** Reads by the store's own bulk call or key by key; a key that fails carries its error instead of failing all. */
async function readMany(
  target: StateTarget,
  requests: readonly GetRequest[],
  width: number,
): Promise<Map<string, BulkEntry>> {
  const { store } = target;
  const entries = store.bulkGet
    ? await store.bulkGet(requests)
    : await mapBounded(requests, width, async (request): Promise<BulkEntry | undefined> => {
        try {
          const entry = await store.get(request);
          return entry === undefined ? undefined : { key: request.key, ...entry };
        } catch (error) {
          return { key: request.key, value: nothing, etag: "", error: (error as Error).message };
        }
      });
  const found = new Map<string, BulkEntry>();
  for (const entry of entries) if (entry !== undefined) found.set(entry.key, entry);
  return found;
}

function bulkItemOf(target: StateTarget, key: string, entry: BulkEntry | undefined) {
  if (entry === undefined) return { key, metadata: noMetadata };
  if (entry.error) return { key, error: entry.error, metadata: noMetadata };
  try {
    return { key, ...responseOf(target, entry) };
  } catch (error) {
    return { key, error: (error as Error).message, metadata: noMetadata };
  }
}

interface ItemText {
  key?: string;
  data?: Uint8Array;
  etag?: string;
  error?: string;
  metadata?: Record<string, string>;
}

function bulkItemText({ key = "", data = nothing, etag, error, metadata = noMetadata }: ItemText): string {
  let item = `{"key":${JSON.stringify(key)}`;
  if (data.length > 0) item += `,"data":${valueText(data)}`;
  if (etag) item += `,"etag":${JSON.stringify(etag)}`;
  if (!isEmpty(metadata)) item += `,"metadata":${JSON.stringify(metadata)}`;
  if (error) item += `,"error":${JSON.stringify(error)}`;
  return `${item}}`;
}

/** The value as it stands when it is JSON; other bytes as a JSON string, so that the reply stays well-formed. */
function valueText(data: Uint8Array): string {
  const value = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("utf8");
  try {
    JSON.parse(value);
    return value;
  } catch {
    return JSON.stringify(value);
  }
}

function isEmpty(metadata: Record<string, string>): boolean {
  for (const _ in metadata) return false;
  return true;
}

function consistencyCode(given: string | undefined): 0 | 1 | 2 {
  if (given === undefined) return 0;
  return given === "strong" ? 2 : given === "eventual" ? 1 : 0;
}

/** `2026-01-02T03:04:05Z`: Go's RFC 3339, without fractions. */
function rfc3339(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19)}Z`;
}
