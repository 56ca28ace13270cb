import { afterAll, beforeAll, describe, expect, test } from "bun:test";
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

describe("save and get", () => {
  exchanges(
    () => server,
    [
      {
        title: "saves",
        line: "POST /v1.0/state/store",
        body: '[{"key":"a","value":{"n":1.0}},{"key":"b","value":"two"}]',
        ...noBody,
      },
      {
        title: "gets the JSON text as it was sent, with its etag",
        line: "GET /v1.0/state/store/a",
        status: 200,
        reply: '{"n":1.0}',
        replyHeaders: { "content-type": "application/json", etag: /^[0-9a-f-]{36}$/ },
      },
      { title: "keeps the quotes of strings", line: "GET /v1.0/state/store/b", status: 200, reply: '"two"' },
      { title: "ignores a trailing slash", line: "GET /v1.0/state/store/b/", status: 200, reply: '"two"' },
      { title: "cleans the path", line: "GET //v1.0/./state/x/../store//b", status: 200, reply: '"two"' },
      { title: "answers 204 for an absent key", line: "GET /v1.0/state/store/none", ...noBody },
      {
        title: "takes PUT",
        line: "PUT /v1.0/state/store",
        body: '[{"key":"put","value":12345678901234567890}]',
        ...noBody,
      },
      {
        title: "keeps big integers",
        line: "GET /v1.0/state/store/put",
        status: 200,
        reply: "12345678901234567890",
      },
      { title: "saves nothing", line: "POST /v1.0/state/store", body: "[]", ...noBody },
      {
        title: "saves a missing value as null",
        line: "POST /v1.0/state/store",
        body: '[{"key":"null"}]',
        ...noBody,
      },
      { title: "gets null", line: "GET /v1.0/state/store/null", status: 200, reply: "null" },
      {
        title: "saves strings of other content types raw",
        line: "POST /v1.0/state/store",
        body: '[{"key":"raw","value":"no quotes","metadata":{"contentType":"text/plain"}}]',
        ...noBody,
      },
      { title: "gets them raw", line: "GET /v1.0/state/store/raw", status: 200, reply: "no quotes" },
      {
        title: "saves under an escaped key",
        line: "POST /v1.0/state/store",
        body: '[{"key":"x y/z","value":1}]',
        ...noBody,
      },
      {
        title: "decodes keys once, + as a space",
        line: "GET /v1.0/state/store/x+y%2Fz",
        status: 200,
        reply: "1",
      },
      {
        title: "refuses a malformed escape",
        line: "GET /v1.0/state/store/%zz",
        status: 400,
        reply: 'failed to unescape request parameter "key". Error: invalid URL escape "%zz"\n',
      },
    ],
  );
});

describe("errors of save and get", () => {
  exchanges(
    () => server,
    [
      { title: "unknown store", line: "GET /v1.0/state/nope/a", status: 400, reply: notFound },
      {
        title: "unknown store before the body",
        line: "POST /v1.0/state/nope",
        body: "{",
        status: 400,
        reply: notFound,
      },
      {
        title: "bad JSON",
        line: "POST /v1.0/state/store",
        body: "[{",
        status: 400,
        reply: /^\{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: .+"\}$/,
      },
      {
        title: "no key",
        line: "POST /v1.0/state/store",
        body: '[{"value":1}]',
        status: 400,
        reply: errorBody("ERR_MALFORMED_REQUEST", '"key" is a required field'),
      },
      {
        title: "illegal key",
        line: "GET /v1.0/state/store/a%7C%7Cb",
        status: 400,
        reply: errorBody("ERR_MALFORMED_REQUEST", "input key/keyPrefix 'a||b' can't contain '||'", [
          errorInfo("DAPR_STATE_ILLEGAL_KEY"),
          resourceInfo("state", "store"),
          {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            field_violations: [
              { field: "a||b", description: "input key/keyPrefix 'a||b' can't contain '||'" },
            ],
          },
        ]),
      },
      {
        title: "illegal prefix",
        line: "GET /v1.0/state/by-a%7C%7Cb/k",
        status: 400,
        reply: /"message":"input key\/keyPrefix 'a\|\|b' can't contain '\|\|'"/,
      },
      {
        title: "unknown concurrency",
        line: "POST /v1.0/state/store",
        body: '[{"key":"a","value":1,"options":{"concurrency":"maybe"}}]',
        status: 400,
        reply: errorBody(
          "ERR_STATE_SAVE",
          "failed saving state in state store store: unrecognized concurrency option 'maybe'",
        ),
      },
      {
        title: "TTL that is no number",
        line: "POST /v1.0/state/store?metadata.ttlInSeconds=soon",
        body: '[{"key":"a","value":1}]',
        status: 500,
        reply: errorBody(
          "ERR_STATE_SAVE",
          "failed saving state in state store store: error parsing metadata 'ttlInSeconds': invalid value 'soon'",
        ),
      },
      {
        title: "failing get",
        line: "GET /v1.0/state/broken/a",
        status: 500,
        reply: errorBody("ERR_STATE_GET", "fail to get a from state store broken: disk on fire"),
      },
      {
        title: "failing save",
        line: "POST /v1.0/state/broken",
        body: '[{"key":"a"}]',
        status: 500,
        reply: errorBody("ERR_STATE_SAVE", "failed saving state in state store broken: disk on fire"),
      },
      {
        title: "failing delete",
        line: "DELETE /v1.0/state/broken/a",
        status: 500,
        reply: errorBody("ERR_STATE_DELETE", "failed deleting state with key a: disk on fire"),
      },
    ],
  );

  test("a body over the limit fails as the handler's own error", async () => {
    const limited = await startServer({ settings: { ...server.app.settings, maxBodyBytes: 100 } });
    try {
      const body = JSON.stringify([{ key: "a", value: "x".repeat(200) }]);
      const answer = await limited.http("POST /v1.0/state/store", { body });
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.body)).toEqual(
        errorBody("ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: stream too large"),
      );
    } finally {
      await limited.close();
    }
  });

  test("no store at all", async () => {
    const bare = await startServer();
    try {
      bare.app.components.remove("state", "store");
      const answer = await bare.http("GET /v1.0/state/store/a");
      expect(answer.status).toBe(500);
      expect(JSON.parse(answer.body)).toEqual(
        errorBody("ERR_STATE_STORE_NOT_CONFIGURED", "state store store is not configured", [
          errorInfo("DAPR_STATE_NOT_CONFIGURED", { appID: "shop" }),
        ]),
      );
    } finally {
      await bare.close();
    }
  });
});

describe("etags and delete", () => {
  const mismatch = "possible etag mismatch. error from state store: the etag does not match";
  exchanges(
    () => server,
    [
      { title: "saves", line: "POST /v1.0/state/store", body: '[{"key":"e","value":1}]', ...noBody },
      {
        title: "refuses another etag",
        line: "POST /v1.0/state/store",
        body: '[{"key":"e","value":2,"etag":"00000000-0000-0000-0000-000000000000"}]',
        status: 409,
        reply:
          /^\{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store store: possible etag mismatch/,
      },
      {
        title: "refuses first-write on a present key",
        line: "POST /v1.0/state/store",
        body: '[{"key":"e","value":2,"options":{"concurrency":"first-write"}}]',
        status: 409,
        reply: /ERR_STATE_SAVE/,
      },
      {
        title: "takes an empty etag for none",
        line: "POST /v1.0/state/store",
        body: '[{"key":"e","value":3,"etag":""}]',
        ...noBody,
      },
      {
        title: "refuses to delete with another etag",
        line: "DELETE /v1.0/state/store/e",
        headers: { "If-Match": "00000000-0000-0000-0000-000000000000" },
        status: 409,
        reply: errorBody("ERR_STATE_DELETE", `failed deleting state with key e: ${mismatch}`),
      },
      { title: "deletes", line: "DELETE /v1.0/state/store/e", ...noBody },
      { title: "deletes what is absent", line: "DELETE /v1.0/state/store/e", ...noBody },
      { title: "has deleted", line: "GET /v1.0/state/store/e", ...noBody },
    ],
  );

  test("saves and deletes with the right etag", async () => {
    await server.http("POST /v1.0/state/store", { body: '[{"key":"r","value":1}]' });
    const etag = (await server.http("GET /v1.0/state/store/r")).headers.etag ?? "";
    const saved = await server.http("POST /v1.0/state/store", {
      body: JSON.stringify([{ key: "r", value: 2, etag }]),
    });
    expect(saved.status).toBe(204);
    const stale = await server.http("DELETE /v1.0/state/store/r", { headers: { "If-Match": etag } });
    expect(stale.status).toBe(409);
    const fresh = (await server.http("GET /v1.0/state/store/r")).headers.etag ?? "";
    const deleted = await server.http("DELETE /v1.0/state/store/r", { headers: { "If-Match": fresh } });
    expect(deleted.status).toBe(204);
  });
});

describe("TTL", () => {
  exchanges(
    () => server,
    [
      {
        title: "saves with a TTL",
        line: "POST /v1.0/state/store",
        body: '[{"key":"t","value":1,"metadata":{"ttlInSeconds":"1000"}}]',
        ...noBody,
      },
      {
        title: "tells when it ends",
        line: "GET /v1.0/state/store/t",
        status: 200,
        reply: "1",
        replyHeaders: { "metadata.ttlexpiretime": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ },
      },
      {
        title: "lets the query win over the item",
        line: "POST /v1.0/state/store?metadata.ttlInSeconds=-1",
        body: '[{"key":"t","value":2,"metadata":{"ttlInSeconds":"1000"}}]',
        ...noBody,
      },
    ],
  );

  test("-1 takes the end away", async () => {
    const answer = await server.http("GET /v1.0/state/store/t");
    expect(answer.headers["metadata.ttlexpiretime"]).toBeUndefined();
  });
});

describe("key prefixes and encryption", () => {
  async function storedKeys(store: string): Promise<string[]> {
    const instance = server.app.components.find("state", "store")?.instance as StateStore;
    await server.http(`POST /v1.0/state/${store}`, { body: '[{"key":"prefixed","value":1}]' });
    const candidates = ["shop||", "by-name||", "", "default.shop||", "custom||"].map(
      (prefix) => `${prefix}prefixed`,
    );
    const found = await Promise.all(
      candidates.map(async (key) => ((await instance.get({ key, metadata: {} })) ? [key] : [])),
    );
    await Promise.all(candidates.map((key) => instance.delete({ key, metadata: {} })));
    return found.flat();
  }

  test.each([
    ["store", "shop||prefixed"],
    ["by-name", "by-name||prefixed"],
    ["by-none", "prefixed"],
    ["by-namespace", "default.shop||prefixed"],
    ["by-Custom", "custom||prefixed"],
  ])("%s stores under %s", async (store, key) => {
    expect(await storedKeys(store)).toEqual([key]);
  });

  test("values are sealed in the store and open outside", async () => {
    await server.http("POST /v1.0/state/sealed", { body: '[{"key":"secret","value":{"pin":1234}}]' });
    const instance = server.app.components.find("state", "store")?.instance as StateStore;
    const stored = await instance.get({ key: "shop||secret", metadata: {} });
    expect(Buffer.from(stored?.value ?? []).toString()).not.toContain("1234");
    expect((await server.http("GET /v1.0/state/sealed/secret")).body).toBe('{"pin":1234}');
    const bulk = await server.http("POST /v1.0/state/sealed/bulk", { body: '{"keys":["secret"]}' });
    expect(JSON.parse(bulk.body)[0].data).toEqual({ pin: 1234 });
  });
});
