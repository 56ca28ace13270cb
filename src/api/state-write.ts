import type { SetRequest, StateOperation } from "../component/state-store.ts";
import { errors, Fault } from "../errors.ts";
import { after } from "../kit/after.ts";
import { mapBounded } from "../kit/bounded.ts";
import { Dapr } from "../wire/dapr/proto/runtime/v1/dapr_pb.js";
import { anyJson, failures, metadataQuery, text, textMap } from "./docs.ts";
import { operation } from "./operation.ts";
import { noContent } from "./reply.ts";
import { deleteRequestOf, type Item, setRequestOf, storeFault } from "./state-item.ts";
import { readItems, readOptions, readTransaction } from "./state-json.ts";
import { type StateTarget, stateTarget } from "./state-target.ts";
import { type AskedChange, withOutbox } from "./transaction-outbox.ts";

const group = { name: "state", version: "v1.0" };
const done = Object.freeze({});
const writesAtOnceMax = 10;

const optionsSchema = {
  type: "object",
  properties: {
    concurrency: { enum: ["first-write", "last-write"] },
    consistency: { enum: ["eventual", "strong"] },
  },
};
const itemSchema = {
  type: "object",
  required: ["key"],
  properties: {
    key: text,
    value: anyJson,
    etag: text,
    metadata: textMap,
    options: optionsSchema,
    contentType: text,
  },
};
const writeFailures = failures({
  400: "ERR_STATE_STORE_NOT_FOUND, ERR_MALFORMED_REQUEST, or the etag is invalid",
  409: "The etag does not match",
  500: "ERR_STATE_STORE_NOT_CONFIGURED, ERR_STATE_SAVE, ERR_STATE_DELETE",
});

export const saveState = operation(Dapr.method.saveState, {
  name: "SaveState",
  group,
  http: {
    verbs: ["POST", "PUT"],
    path: "/v1.0/state/{storeName}",
    request: (http) => {
      const storeName = http.param("storeName");
      stateTarget(http.app, storeName);
      return after(http.jsonText(), (body) => ({
        storeName,
        states: readItems(storeName, body, http.metadata()),
      }));
    },
    reply: () => noContent,
    docs: {
      summary: "Save values",
      query: metadataQuery,
      body: { "application/json": { type: "array", items: itemSchema } },
      replies: { 204: { description: "Saved" }, ...writeFailures },
    },
  },
  async handle({ storeName, states }, call) {
    const { app } = call;
    const target = stateTarget(app, storeName);
    if (states.length === 0) return done;
    try {
      const requests = states.map((item) => setRequestOf(target, item, item.metadata));
      await target.run("set", () => setMany(target, requests), call, { names: keysOf(requests) });
      return done;
    } catch (error) {
      throw storeFault(error, (why, options) => errors.STATE_SAVE(storeName, why, options));
    }
  },
});

export const deleteState = operation(Dapr.method.deleteState, {
  name: "DeleteState",
  group,
  http: {
    verbs: ["DELETE"],
    path: "/v1.0/state/{storeName}/{key}",
    request: (http) => {
      const storeName = http.param("storeName");
      const etag = http.header("if-match");
      return {
        storeName,
        key: http.param("key"),
        etag: etag === undefined ? undefined : { value: etag },
        options: readOptions(storeName, http.query("concurrency"), http.query("consistency")),
        metadata: http.metadata(),
      };
    },
    reply: () => noContent,
    docs: {
      summary: "Delete one value",
      query: {
        concurrency: { description: "When to delete", schema: { enum: ["first-write", "last-write"] } },
        consistency: { description: "A hint", schema: { enum: ["eventual", "strong"] } },
        ...metadataQuery,
      },
      headers: { "If-Match": { description: "The etag the value has to have" } },
      replies: { 204: { description: "Deleted, or absent" }, ...writeFailures },
    },
  },
  async handle(request, call) {
    const { app } = call;
    const { storeName, key, metadata } = request;
    const target = stateTarget(app, storeName);
    const deletion = deleteRequestOf(target, request, metadata);
    try {
      await target.run("delete", () => target.store.delete(deletion), call, { names: [deletion.key] });
      return done;
    } catch (error) {
      throw storeFault(error, (why, options) => errors.STATE_DELETE(key, why, options));
    }
  },
});

export const deleteBulkState = operation(Dapr.method.deleteBulkState, {
  name: "DeleteBulkState",
  group,
  async handle({ storeName, states }, call) {
    const { app } = call;
    const target = stateTarget(app, storeName);
    if (states.length === 0) return done;
    const { store } = target;
    const requests = states.map((item) => deleteRequestOf(target, item, item.metadata));
    try {
      await target.run(
        "bulk_delete",
        async () => {
          if (store.bulkDelete) await store.bulkDelete(requests);
          else await mapBounded(requests, writesAtOnceMax, (request) => store.delete(request));
        },
        call,
        { names: keysOf(requests) },
      );
      return done;
    } catch (error) {
      throw storeFault(error, (why, options) => errors.STATE_BULK_DELETE(storeName, why, options));
    }
  },
});

export const executeStateTransaction = operation(Dapr.method.executeStateTransaction, {
  name: "ExecuteStateTransaction",
  group,
  http: {
    verbs: ["POST", "PUT"],
    path: "/v1.0/state/{storeName}/transaction",
    request: (http) => {
      const storeName = http.param("storeName");
      requireTransactions(stateTarget(http.app, storeName));
      return after(http.jsonText(), (body) => ({
        storeName,
        ...readTransaction(storeName, body, http.metadata()),
      }));
    },
    reply: () => noContent,
    docs: {
      summary: "Change several values, all or nothing",
      query: metadataQuery,
      body: {
        "application/json": {
          type: "object",
          properties: {
            operations: {
              type: "array",
              items: {
                type: "object",
                properties: { operation: { enum: ["upsert", "delete"] }, request: itemSchema },
              },
            },
            metadata: textMap,
          },
        },
      },
      replies: {
        204: { description: "Committed" },
        ...failures({
          400: "ERR_STATE_STORE_NOT_FOUND, ERR_MALFORMED_REQUEST, ERR_NOT_SUPPORTED_STATE_OPERATION, ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
          500: "ERR_STATE_STORE_NOT_CONFIGURED, ERR_STATE_STORE_NOT_SUPPORTED, ERR_STATE_TRANSACTION",
        }),
      },
    },
  },
  async handle({ storeName, operations, metadata }, call) {
    const { app } = call;
    const target = stateTarget(app, storeName);
    const transact = requireTransactions(target);
    if (operations.length === 0) return done;
    try {
      const asked = operations.map(({ operationType, request }) =>
        changeOf(target, operationType, request, metadata),
      );
      const changes = await withOutbox(storeName, asked, call);
      requireRoom(target, changes.length);
      const names = changes.map(({ request }) => request.key);
      await target.run("transaction", () => transact(changes, metadata), call, { names });
      return done;
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw errors.STATE_TRANSACTION((error as Error).message, { cause: error });
    }
  },
});

function changeOf(
  target: StateTarget,
  type: string,
  item: Item | undefined,
  common: Record<string, string>,
): AskedChange {
  if (type !== "upsert" && type !== "delete") throw errors.STATE_OPERATION_NOT_SUPPORTED(type);
  if (item === undefined) throw errors.STATE_KEY_MISSING();
  const metadata = { ...common, ...item.metadata };
  const change: StateOperation =
    type === "upsert"
      ? { kind: "upsert", request: setRequestOf(target, item, metadata) }
      : { kind: "delete", request: deleteRequestOf(target, item, metadata) };
  return { change, item, metadata };
}

type Transact = (operations: readonly StateOperation[], metadata: Record<string, string>) => Promise<void>;

function requireTransactions({ name, store }: StateTarget): Transact {
  if (store.transact !== undefined) return store.transact.bind(store);
  throw errors.STATE_TRANSACTIONS_NOT_SUPPORTED(name, {
    resource: { type: "state", name },
    help: {
      url: "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
      description: "Check the list of state stores and the features they support",
    },
  });
}

function requireRoom({ name, store }: StateTarget, count: number): void {
  const { operationsMax } = store;
  if (operationsMax === undefined || operationsMax <= 0 || count <= operationsMax) return;
  throw errors.STATE_TOO_MANY_TRANSACTIONS(String(count), String(operationsMax), {
    resource: { type: "state", name },
    metadata: { currentOpsTransaction: String(count), maxOpsPerTransaction: String(operationsMax) },
  });
}

async function setMany({ store }: StateTarget, requests: readonly SetRequest[]): Promise<void> {
  const [only] = requests;
  if (requests.length === 1 && only !== undefined) return store.set(only);
  if (store.bulkSet) return store.bulkSet(requests);
  // The same key twice has to end with its last value: then the order counts.
  const keys = new Set(requests.map(({ key }) => key));
  const width = keys.size === requests.length ? writesAtOnceMax : 1;
  await mapBounded(requests, width, (request) => store.set(request));
}

function keysOf(requests: readonly { key: string }[]): string[] {
  return requests.map(({ key }) => key);
}
