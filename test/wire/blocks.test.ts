import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Binding } from "../../src/component/binding.ts";
import type { LockStore } from "../../src/component/lock-store.ts";
import type { SecretStore } from "../../src/component/secret-store.ts";
import { Code } from "../../src/errors.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { errorBody, exchanges } from "./exchanges.ts";
import { testConfiguration, testSettings } from "./parts.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

let server: TestServer;
const { method } = Dapr;
const noBody = { status: 204, reply: "" };

const secrets: Record<string, Record<string, string>> = {
  db: { user: "u", password: "p" },
  api: { api: "k" },
};
const secretStore: SecretStore = {
  features: new Set<never>(),
  async get(key) {
    const secret = secrets[key];
    if (secret === undefined) throw new Error(`secret ${key} not found`);
    return secret;
  },
  bulkGet: async () => secrets,
  close: async () => {},
};

function testLocks(): LockStore & { owners: Map<string, string> } {
  const owners = new Map<string, string>();
  return {
    owners,
    async tryLock(resourceId, owner) {
      if (resourceId.includes("broken")) throw new Error("no quorum");
      if (owners.has(resourceId)) return undefined;
      owners.set(resourceId, owner);
      return 42;
    },
    async unlock(resourceId, owner) {
      if (resourceId.includes("broken")) throw new Error("no quorum");
      if (!owners.has(resourceId)) return "absent";
      if (owners.get(resourceId) !== owner) return "others";
      owners.delete(resourceId);
      return "success";
    },
    close: async () => {},
  };
}

/** Answers with what it got; `fail` fails and `silent` says nothing. */
const echoBinding: Binding = {
  operations: ["create", "fail", "silent"],
  async invoke({ operation, data, metadata }) {
    if (operation === "fail") throw new Error("queue is full");
    if (operation === "silent") return undefined;
    const { traceparent, ...rest } = metadata;
    return { data, metadata: { ...rest, traced: String(traceparent !== undefined) } };
  },
  close: async () => {},
};

const locks = testLocks();

beforeAll(async () => {
  const scopes = [
    { storeName: "allowing", defaultAccess: "deny", allowedSecrets: ["db"], deniedSecrets: [] },
    { storeName: "denying", defaultAccess: "allow", allowedSecrets: [], deniedSecrets: ["db"] },
    { storeName: "closed", defaultAccess: "deny", allowedSecrets: [], deniedSecrets: [] },
  ] as const;
  const configuration = testConfiguration({
    secrets: {
      scopes: scopes.map((scope) => ({
        ...scope,
        allowedSecrets: [...scope.allowedSecrets],
        deniedSecrets: [...scope.deniedSecrets],
      })),
    },
    features: { HotReload: true, ActorStateTTL: false },
  });
  server = await startServer({ configuration });
  const { components } = server.app;
  for (const name of ["secrets", "allowing", "denying", "closed"])
    components.put("secretstores", name, secretStore);
  components.put("lock", "locks", locks);
  components.put("lock", "named", locks, { keyPrefix: "name" });
  components.put("bindings", "echo", echoBinding);
  components.put("bindings", "input", { read: async () => {}, close: async () => {} });
});
afterAll(() => server.close());

describe("secrets over HTTP", () => {
  exchanges(
    () => server,
    [
      {
        title: "reads one",
        line: "GET /v1.0/secrets/secrets/db",
        status: 200,
        reply: '{"user":"u","password":"p"}\n',
        replyHeaders: { "content-type": "application/json" },
      },
      { title: "reads all", line: "GET /v1.0/secrets/secrets/bulk", status: 200, reply: secrets },
      {
        title: "reads what is allowed",
        line: "GET /v1.0/secrets/allowing/bulk",
        status: 200,
        reply: { db: secrets.db },
      },
      {
        title: "leaves out what is denied",
        line: "GET /v1.0/secrets/denying/bulk",
        status: 200,
        reply: { api: secrets.api },
      },
      {
        title: "not in the allowed list",
        line: "GET /v1.0/secrets/allowing/api",
        status: 403,
        reply: errorBody("ERR_PERMISSION_DENIED", 'access denied by policy to get "api" from "allowing"'),
      },
      {
        title: "denied by name",
        line: "GET /v1.0/secrets/denying/db",
        status: 403,
        reply: /ERR_PERMISSION_DENIED/,
      },
      {
        title: "denied by default",
        line: "GET /v1.0/secrets/closed/db",
        status: 403,
        reply: /ERR_PERMISSION_DENIED/,
      },
      {
        title: "unknown store",
        line: "GET /v1.0/secrets/nope/db",
        status: 401,
        reply: errorBody("ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key nope"),
      },
      {
        title: "unknown secret",
        line: "GET /v1.0/secrets/secrets/nope",
        status: 500,
        reply: errorBody(
          "ERR_SECRET_GET",
          "failed getting secret with key nope from secret store secrets: secret nope not found",
        ),
      },
    ],
  );
});

describe("secrets over gRPC", () => {
  test("reads one and all", async () => {
    const one = await server.call(method.getSecret, { storeName: "secrets", key: "db" });
    expect(one.data).toEqual({ user: "u", password: "p" });
    const all = await server.call(method.getBulkSecret, { storeName: "allowing" });
    expect(Object.keys(all.data)).toEqual(["db"]);
  });

  test("is refused by the scopes", async () => {
    const failure = await failureOf(server.call(method.getSecret, { storeName: "closed", key: "db" }));
    expect([failure.code, failure.message]).toEqual([
      Code.PermissionDenied,
      'access denied by policy to get "db" from "closed"',
    ]);
  });

  test("fails without stores and when the store fails", async () => {
    const failing = await startServer();
    try {
      const none = await failureOf(failing.call(method.getSecret, { storeName: "s", key: "k" }));
      expect([none.code, none.message]).toEqual([Code.FailedPrecondition, "secret store is not configured"]);
      const broken = { ...secretStore, bulkGet: () => Promise.reject(new Error("sealed")) };
      failing.app.components.put("secretstores", "s", broken);
      const bulk = await failing.http("GET /v1.0/secrets/s/bulk");
      expect(JSON.parse(bulk.body)).toEqual(
        errorBody("ERR_SECRET_GET", "failed getting secrets from secret store s: sealed"),
      );
    } finally {
      await failing.close();
    }
  });
});

describe("locks", () => {
  const lock = (owner: string, resourceId = "r", expiryInSeconds: unknown = 10) =>
    JSON.stringify({ resourceId, lockOwner: owner, expiryInSeconds });
  const line = "POST /v1.0-alpha1/lock/locks";
  const release = "POST /v1.0-alpha1/unlock/locks";
  exchanges(
    () => server,
    [
      { title: "is taken", line, body: lock("me"), status: 200, reply: '{"success":true}' },
      { title: "is not taken twice", line, body: lock("you"), status: 200, reply: '{"success":false}' },
      {
        title: "takes snake case",
        line,
        body: '{"resource_id":"s","lock_owner":"me","expiry_in_seconds":5}',
        status: 200,
        reply: '{"success":true}',
      },
      { title: "belongs to others", line: release, body: lock("you"), status: 200, reply: '{"status":2}' },
      { title: "is given back", line: release, body: lock("me"), status: 200, reply: '{"status":0}' },
      { title: "does not exist", line: release, body: lock("me"), status: 200, reply: '{"status":1}' },
      {
        title: "no resource",
        line,
        body: '{"lockOwner":"me","expiryInSeconds":1}',
        status: 400,
        reply: errorBody("ERR_MALFORMED_REQUEST", "ResourceId is empty in lock store locks"),
      },
      {
        title: "no owner",
        line: release,
        body: '{"resourceId":"r"}',
        status: 400,
        reply: errorBody("ERR_MALFORMED_REQUEST", "LockOwner is empty in lock store locks"),
      },
      {
        title: "no expiry",
        line,
        body: lock("me", "r", 0),
        status: 400,
        reply: errorBody("ERR_MALFORMED_REQUEST", "ExpiryInSeconds is not positive in lock store locks"),
      },
      {
        title: "expiry that is no number",
        line,
        body: lock("me", "r", "soon"),
        status: 400,
        reply: /failed deserializing HTTP body/,
      },
      {
        title: "unknown store",
        line: "POST /v1.0-alpha1/lock/nope",
        body: lock("me"),
        status: 400,
        reply: errorBody("ERR_LOCK_STORE_NOT_FOUND", "lock store nope not found"),
      },
      {
        title: "failing store",
        line,
        body: lock("me", "broken"),
        status: 500,
        reply: errorBody("ERR_TRY_LOCK", "failed to try acquiring lock: no quorum"),
      },
      {
        title: "failing store",
        line: release,
        body: lock("me", "broken"),
        status: 500,
        reply: errorBody("ERR_UNLOCK", "failed to release lock: no quorum"),
      },
      {
        title: "id that reaches into another prefix",
        line,
        body: lock("me", "a||b"),
        status: 500,
        reply: /ERR_TRY_LOCK/,
      },
      {
        title: "is alpha only",
        line: "POST /v1.0/lock/locks",
        body: lock("me"),
        status: 404,
        reply: /ERR_DIRECT_INVOKE/,
      },
    ],
  );

  test("keys carry the prefix of the strategy", async () => {
    locks.owners.clear();
    for (const storeName of ["locks", "named"]) {
      const request = { storeName, resourceId: "k", lockOwner: "me", expiryInSeconds: 1 };
      expect((await server.call(method.tryLockAlpha1, request)).success).toBe(true);
    }
    expect([...locks.owners.keys()]).toEqual(["lock||shop||k", "lock||named||k"]);
    const freed = await server.call(method.unlockAlpha1, {
      storeName: "named",
      resourceId: "k",
      lockOwner: "me",
    });
    expect(freed.status).toBe(0);
  });

  test("a fencing token comes in a header, and in no strict mode", async () => {
    locks.owners.clear();
    const request = { storeName: "locks", resourceId: "f", lockOwner: "me", expiryInSeconds: 1 };
    const tokens: unknown[] = [];
    const onHeaders = (metadata: [name: string, value: string][]) =>
      tokens.push(Object.fromEntries(metadata)["metadata.fencingtoken"]);
    await server.call(method.tryLockAlpha1, request, { onHeaders });
    await server.call(method.tryLockAlpha1, request, { onHeaders });
    tokens.push((await server.http(line, { body: lock("me", "g") })).headers["metadata.fencingtoken"]);
    tokens.push((await server.http(line, { body: lock("me", "g") })).headers["metadata.fencingtoken"]);
    expect(tokens).toEqual(["42", undefined, "42", undefined]);
    const strict = await startServer({ settings: testSettings({ isStrict: true }) });
    strict.app.components.put("lock", "locks", testLocks());
    const answer = await strict.http(line, { body: lock("me") });
    await strict.close();
    expect(answer.body).toBe('{"success":true}');
    expect(answer.headers).not.toHaveProperty("metadata.fencingtoken");
  });

  test("none configured", async () => {
    const bare = await startServer();
    try {
      const answer = await bare.http("POST /v1.0-alpha1/lock/locks", { body: lock("me") });
      expect([answer.status, JSON.parse(answer.body)]).toEqual([
        500,
        errorBody("ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured"),
      ]);
      const failure = await failureOf(
        bare.call(method.unlockAlpha1, { storeName: "locks", resourceId: "r", lockOwner: "o" }),
      );
      expect(failure.code).toBe(Code.FailedPrecondition);
    } finally {
      await bare.close();
    }
  });
});

describe("output bindings", () => {
  const failure = (why: string, name = "echo") =>
    errorBody("ERR_INVOKE_OUTPUT_BINDING", `error invoking output binding ${name}: ${why}`);
  exchanges(
    () => server,
    [
      {
        title: "answers with data and metadata",
        line: "POST /v1.0/bindings/echo",
        body: '{"data":{"n":1.0},"metadata":{"k":"v"},"operation":"create"}',
        status: 200,
        reply: '{"n":1.0}',
        replyHeaders: { "metadata.k": "v", "metadata.traced": "true", "content-type": "application/json" },
      },
      {
        title: "keeps the quotes of strings",
        line: "PUT /v1.0/bindings/echo",
        body: '{"data":"text","operation":"create"}',
        status: 200,
        reply: '"text"',
      },
      {
        title: "answers with nothing",
        line: "POST /v1.0/bindings/echo",
        body: '{"operation":"silent"}',
        ...noBody,
      },
      {
        title: "failing binding",
        line: "POST /v1.0/bindings/echo",
        body: '{"operation":"fail"}',
        status: 500,
        reply: failure("queue is full"),
      },
      {
        title: "unknown binding",
        line: "POST /v1.0/bindings/nope",
        body: '{"operation":"create"}',
        status: 500,
        reply: failure("couldn't find output binding nope", "nope"),
      },
      {
        title: "input binding",
        line: "POST /v1.0/bindings/input",
        body: '{"operation":"create"}',
        status: 500,
        reply: failure("couldn't find output binding input", "input"),
      },
      {
        title: "no operation",
        line: "POST /v1.0/bindings/echo",
        body: "{}",
        status: 500,
        reply: failure("operation field is missing from request"),
      },
      {
        title: "unknown operation",
        line: "POST /v1.0/bindings/echo",
        body: '{"operation":"delete"}',
        status: 500,
        reply: failure(
          "binding echo does not support operation delete. supported operations:create fail silent",
        ),
      },
      {
        title: "bad JSON",
        line: "POST /v1.0/bindings/echo",
        body: "{",
        status: 400,
        reply: /ERR_MALFORMED_REQUEST/,
      },
      {
        title: "baggage goes along",
        line: "POST /v1.0/bindings/echo",
        headers: { baggage: "user=alice, tenant=t1;prop" },
        body: '{"operation":"create"}',
        status: 200,
        reply: "null",
        replyHeaders: { "metadata.baggage": "user=alice, tenant=t1;prop" },
      },
      {
        title: "malformed baggage",
        line: "POST /v1.0/bindings/echo",
        headers: { baggage: "no equals sign" },
        body: '{"operation":"create"}',
        status: 400,
        reply: /"errorCode":"ERR_MALFORMED_REQUEST","message":"invalid baggage header: /,
      },
    ],
  );

  test("over gRPC", async () => {
    const request = { name: "echo", operation: "create", data: Uint8Array.of(0, 255), metadata: { k: "v" } };
    const reply = await server.call(method.invokeBinding, request);
    expect([...reply.data]).toEqual([0, 255]);
    expect(reply.metadata.k).toBe("v");
    const baggage = { metadata: [["baggage", "user=alice"]] as [string, string][] };
    const carried = await server.call(method.invokeBinding, request, baggage);
    expect(carried.metadata.baggage).toBe("user=alice");
    const refused = await failureOf(server.call(method.invokeBinding, { name: "nope", operation: "create" }));
    expect([refused.code, refused.message]).toEqual([
      Code.Internal,
      "error invoking output binding nope: couldn't find output binding nope",
    ]);
  });
});
