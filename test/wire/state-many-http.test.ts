import { afterAll, beforeAll, describe } from "bun:test";
import type { StateStore } from "../../src/component/state-store.ts";
import { errorBody, errorInfo, exchanges, resourceInfo } from "./exchanges.ts";
import { startServer, type TestServer } from "./server.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  const { components } = server.app;
  const store = components.find("state", "store")?.instance as StateStore;
  for (const keyPrefix of ["name", "none", "namespace", "Custom", "a||b"]) {
    components.put("state", `by-${keyPrefix}`, store, { keyPrefix });
  }
  components.put("state", "sealed", store, { primaryEncryptionKey: "00".repeat(16) });
  components.put("state", "plain", plainStore(store));
  components.put("state", "small", boundStore(store));
  components.put("state", "broken", brokenStore());
});
afterAll(() => server.close());

/** Only what every store has: no bulk calls, transactions or queries. */
function plainStore(store: StateStore): StateStore {
  return {
    features: new Set(),
    get: (request) => store.get(request),
    set: (request) => store.set(request),
    delete: (request) => store.delete(request),
    close: async () => {},
  };
}

function boundStore(store: StateStore): StateStore {
  return { ...plainStore(store), operationsMax: 1, transact: async () => {} };
}

function brokenStore(): StateStore {
  const fail = () => Promise.reject(new Error("disk on fire"));
  return {
    features: new Set(),
    get: fail,
    set: fail,
    delete: fail,
    transact: fail,
    query: fail,
    bulkGet: fail,
    close: async () => {},
  };
}

const notFound = errorBody("ERR_STATE_STORE_NOT_FOUND", "state store nope is not found", [
  errorInfo("DAPR_STATE_NOT_FOUND", { appID: "shop" }),
]);
const noBody = { status: 204, reply: "" };

describe("bulk get", () => {
  exchanges(
    () => server,
    [
      {
        title: "saves",
        line: "POST /v1.0/state/store",
        body: '[{"key":"g1","value":{"a":1.50}},{"key":"g2","value":"s"}]',
        ...noBody,
      },
      {
        title: "answers in order, absent keys with their key only",
        line: "POST /v1.0/state/store/bulk",
        body: '{"keys":["g2","none","g1"],"parallelism":2}',
        status: 200,
        reply:
          /^\[\{"key":"g2","data":"s","etag":"[^"]+"\},\{"key":"none"\},\{"key":"g1","data":\{"a":1\.50\},"etag":"[^"]+"\}\]\n$/,
        replyHeaders: { "content-type": "application/json" },
      },
      {
        title: "answers nothing for nothing",
        line: "PUT /v1.0/state/store/bulk",
        body: '{"keys":[]}',
        status: 200,
        reply: "[]\n",
      },
      {
        title: "goes key by key where the store has no bulk get",
        line: "POST /v1.0/state/plain/bulk",
        body: '{"keys":["g1","none"]}',
        status: 200,
        reply: /^\[\{"key":"g1","data":\{"a":1\.50\},"etag":"[^"]+"\},\{"key":"none"\}\]\n$/,
      },
      {
        title: "fails as a whole",
        line: "POST /v1.0/state/broken/bulk",
        body: '{"keys":["a"]}',
        status: 500,
        reply: errorBody("ERR_STATE_BULK_GET", "disk on fire"),
      },
      {
        title: "unknown store",
        line: "POST /v1.0/state/nope/bulk",
        body: "{}",
        status: 400,
        reply: notFound,
      },
      {
        title: "bad JSON",
        line: "POST /v1.0/state/store/bulk",
        body: "",
        status: 400,
        reply: /ERR_MALFORMED_REQUEST/,
      },
    ],
  );
});

describe("transactions", () => {
  const upsert = (key: string, value: unknown) => ({ operation: "upsert", request: { key, value } });
  exchanges(
    () => server,
    [
      {
        title: "changes several keys",
        line: "POST /v1.0/state/store/transaction",
        body: '{"operations":[{"operation":"upsert","request":{"key":"x1","value":2.0}},{"operation":"delete","request":{"key":"x2"}}]}',
        ...noBody,
      },
      { title: "has changed them", line: "GET /v1.0/state/store/x1", status: 200, reply: "2.0" },
      {
        title: "does nothing for nothing",
        line: "PUT /v1.0/state/store/transaction",
        body: '{"operations":[]}',
        ...noBody,
      },
      {
        title: "changes nothing when one fails",
        line: "POST /v1.0/state/store/transaction",
        body: JSON.stringify({
          operations: [
            upsert("x3", 1),
            { operation: "delete", request: { key: "x1", etag: "00000000-0000-0000-0000-000000000000" } },
          ],
        }),
        status: 500,
        reply:
          /^\{"errorCode":"ERR_STATE_TRANSACTION","message":"error while executing state transaction: possible etag mismatch/,
      },
      { title: "has not changed the other", line: "GET /v1.0/state/store/x3", ...noBody },
      {
        title: "refuses other operations",
        line: "POST /v1.0/state/store/transaction",
        body: '{"operations":[{"operation":"merge","request":{"key":"a"}}]}',
        status: 400,
        reply: errorBody("ERR_NOT_SUPPORTED_STATE_OPERATION", "operation type merge not supported"),
      },
      {
        title: "refuses stores without transactions",
        line: "POST /v1.0/state/plain/transaction",
        body: '{"operations":[]}',
        status: 500,
        reply: errorBody("ERR_STATE_STORE_NOT_SUPPORTED", "state store plain doesn't support transactions", [
          errorInfo("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED"),
          resourceInfo("state", "plain"),
          {
            "@type": "type.googleapis.com/google.rpc.Help",
            links: [
              {
                url: "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
                description: "Check the list of state stores and the features they support",
              },
            ],
          },
        ]),
      },
      {
        title: "refuses too many operations",
        line: "POST /v1.0/state/small/transaction",
        body: JSON.stringify({ operations: [upsert("a", 1), upsert("b", 2)] }),
        status: 400,
        reply: errorBody(
          "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS",
          "the transaction contains 2 operations, which is more than what the state store supports: 1",
          [
            errorInfo("DAPR_STATE_TOO_MANY_TRANSACTIONS", {
              currentOpsTransaction: "2",
              maxOpsPerTransaction: "1",
            }),
            resourceInfo("state", "small"),
          ],
        ),
      },
      {
        title: "reports the store's failure",
        line: "POST /v1.0/state/broken/transaction",
        body: JSON.stringify({ operations: [upsert("a", 1)] }),
        status: 500,
        reply: errorBody("ERR_STATE_TRANSACTION", "error while executing state transaction: disk on fire"),
      },
      {
        title: "bad JSON",
        line: "POST /v1.0/state/store/transaction",
        body: "nope",
        status: 400,
        reply: /ERR_MALFORMED_REQUEST/,
      },
    ],
  );
});

describe("query", () => {
  exchanges(
    () => server,
    [
      {
        title: "saves what is queried",
        line: "POST /v1.0/state/store",
        body: '[{"key":"q1","value":{"city":"Bonn","n":1}},{"key":"q2","value":{"city":"Köln","n":2}}]',
        ...noBody,
      },
      {
        title: "finds by content",
        line: "POST /v1.0-alpha1/state/store/query",
        body: '{"filter":{"EQ":{"city":"Köln"}}}',
        status: 200,
        reply: /^\{"results":\[\{"key":"q2","data":\{"city":"Köln","n":2\},"etag":"[^"]+"\}\]/,
      },
      {
        title: "answers 204 without results",
        line: "POST /v1.0-alpha1/state/store/query",
        body: '{"filter":{"EQ":{"city":"Rome"}}}',
        ...noBody,
      },
      {
        title: "does not show other prefixes",
        line: "POST /v1.0-alpha1/state/by-name/query",
        body: '{"filter":{"EQ":{"city":"Bonn"}}}',
        ...noBody,
      },
      {
        title: "refuses bad JSON",
        line: "POST /v1.0-alpha1/state/store/query",
        body: "{",
        status: 500,
        reply:
          /"errorCode":"ERR_STATE_QUERY","message":"state store store query failed: failed to parse JSON query body: /,
      },
      {
        title: "refuses stores without queries",
        line: "POST /v1.0-alpha1/state/plain/query",
        body: "{}",
        status: 500,
        reply: errorBody("ERR_STATE_STORE_NOT_SUPPORTED", "state store does not support querying", [
          errorInfo("DAPR_STATE_QUERYING_NOT_SUPPORTED"),
          resourceInfo("state", "plain"),
        ]),
      },
      {
        title: "refuses encrypted stores",
        line: "POST /v1.0-alpha1/state/sealed/query",
        body: "{}",
        status: 500,
        reply: /state store sealed query failed: cannot query encrypted store/,
      },
      {
        title: "reports the store's failure",
        line: "POST /v1.0-alpha1/state/broken/query",
        body: "{}",
        status: 500,
        reply: /state store broken query failed: disk on fire/,
      },
      {
        title: "is alpha only",
        line: "POST /v1.0/state/store/query",
        body: "{}",
        status: 404,
        reply: /ERR_DIRECT_INVOKE/,
      },
    ],
  );
});
