import { afterEach, expect, test } from "bun:test";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { freePort } from "../../scripts/free-port.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { type AppHandler, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import {
  type CheckRequest,
  CheckRequestSchema,
  CheckResponseSchema,
} from "../../src/wire/envoy/service/auth/v3/external_auth_pb.js";

// AuthorizationPolicies of action CUSTOM: an HTTP server decides, asked as Envoy's ext_authz asks.

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function server(otherwise: AppHandler) {
  const app = await fakeApp({ otherwise });
  closers.push(() => app.close());
  return app;
}

interface Setup {
  decide: AppHandler;
  http?: Record<string, unknown>;
  grpc?: Record<string, unknown>;
  more?: string;
}

async function start({ decide, http = {}, grpc, more = "" }: Setup) {
  const authorizer = await server(decide);
  const seen: Record<string, string | undefined>[] = [];
  const app = await server((request) => {
    seen.push({ user: request.header("x-user"), other: request.header("x-other") });
    return { body: "here" };
  });
  const http_ = { uri: `http://127.0.0.1:${authorizer.port}`, timeout: "5s", ...http };
  const provider = { name: "gate", ...(grpc === undefined ? { http: http_ } : { grpc }) };
  const spec = {
    targetRefs: [{ kind: "App", name: "orders" }],
    action: "CUSTOM",
    provider,
    rules: [{ to: [{ operation: { paths: ["/guarded*"] } }] }],
  };
  const policy = {
    apiVersion: "mecha.run/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: { name: "gate" },
    spec,
  };
  const mecha = await startMecha({
    resources: `${JSON.stringify(policy)}\n${more}`,
    apps: [{ appId: "shop" }, { appId: "orders", app }],
  });
  closers.push(() => mecha.stop());
  const call = (line: string, headers: Record<string, string> = {}) => callOrders(mecha, line, headers);
  return { call, seen, authorizer };
}

function callOrders(mecha: TestMecha, line: string, headers: Record<string, string>) {
  return mecha.http("shop", line.replace(" /", " /v1.0/invoke/orders/method/"), { headers });
}

test("the server is asked with the request's own method and path, and the headers that it is to get", async () => {
  const asked: string[] = [];
  const { call, seen } = await start({
    http: {
      pathPrefix: "/check",
      includeRequestHeadersInCheck: ["x-in*"],
      headersToUpstreamOnAllow: ["x-user"],
    },
    decide: ({ method, target, header }) => {
      asked.push(`${method} ${target} ${header("authorization")} ${header("x-in-a")} ${header("x-out")}`);
      return { headers: { "x-user": "ann", "x-other": "no" } };
    },
  });
  const headers = { authorization: "Basic YTpi", "x-in-a": "1", "x-out": "2", "X-User": "root" };
  expect((await call("PUT /guarded/a%20b?x=1", headers)).text).toBe("here");
  expect(asked).toEqual(["PUT /check/guarded/a%20b?x=1 Basic YTpi 1 undefined"]);
  expect(seen).toEqual([{ user: "ann", other: undefined }]);
  // What no rule names is not asked.
  expect((await call("GET /open")).text).toBe("here");
  expect(asked).toHaveLength(1);
});

test("what a caller says under the server's names does not pass when the server says nothing", async () => {
  const { call, seen } = await start({ http: { headersToUpstreamOnAllow: ["x-user"] }, decide: () => ({}) });
  await call("GET /guarded", { "X-User": "root" });
  expect(seen).toEqual([{ user: undefined, other: undefined }]);
});

test("an answer that denies goes to the caller, with the headers that may", async () => {
  const { call, seen } = await start({
    http: { headersToDownstreamOnDeny: ["x-why"] },
    decide: () => ({
      status: 401,
      headers: { "x-why": "late", "x-secret": "s", "WWW-Authenticate": "Basic" },
      body: "go away",
    }),
  });
  const answer = await call("GET /guarded");
  expect([answer.status, answer.text]).toEqual([401, "go away"]);
  expect(answer.header("x-why")).toBe("late");
  expect(answer.header("www-authenticate")).toBe("Basic");
  expect(answer.header("x-secret")).toBeUndefined();
  expect(seen).toEqual([]);
});

test("204 is no 200", async () => {
  const { call } = await start({ decide: () => ({ status: 204 }) });
  expect((await call("GET /guarded")).text).not.toBe("here");
});

test.each([
  [{}, 403],
  [{ statusOnError: 503 }, 503],
  [{ failOpen: true }, 200],
])("a server that fails is an error: %p", async (http, status) => {
  const { call } = await start({ http, decide: () => ({ status: 500 }) });
  expect((await call("GET /guarded")).status).toBe(status);
});

test("a server that is not there, or takes too long, lets nobody in", async () => {
  const slow = await start({ http: { timeout: "50ms" }, decide: () => new Promise(() => {}) });
  expect((await slow.call("GET /guarded")).status).toBe(403);
  await slow.authorizer.close();
  expect((await slow.call("GET /guarded")).status).toBe(403);
});

test("a DENY policy holds for what the server lets in", async () => {
  const spec = {
    targetRefs: [{ kind: "App", name: "orders" }],
    action: "DENY",
    rules: [{ to: [{ operation: { methods: ["DELETE"] } }] }],
  };
  const deny = {
    apiVersion: "mecha.run/v1alpha1",
    kind: "AuthorizationPolicy",
    metadata: { name: "d" },
    spec,
  };
  const { call } = await start({ decide: () => ({}), more: `---\n${JSON.stringify(deny)}\n` });
  expect((await call("GET /guarded")).status).toBe(200);
  expect((await call("DELETE /guarded")).status).toBe(403);
});

/** A server of Envoy's gRPC service. */
async function grpcAuthorizer(
  decide: (request: CheckRequest) => MessageInitShape<typeof CheckResponseSchema>,
) {
  const handle = (bytes: Uint8Array): Uint8Array =>
    toBinary(CheckResponseSchema, create(CheckResponseSchema, decide(fromBinary(CheckRequestSchema, bytes))));
  const app = createGrpcServer({ lookup: () => ({ kind: "unary", handle }) });
  closers.push(() => app.close());
  const bound = await app.listen({ host: "127.0.0.1", port: 0 });
  return `http://127.0.0.1:${"port" in bound ? bound.port : 0}`;
}

test("a gRPC server is asked by Envoy's service, and its headers take the place of the caller's", async () => {
  const asked: CheckRequest[] = [];
  const uri = await grpcAuthorizer((request) => {
    asked.push(request);
    if (request.attributes?.request?.http?.headers["x-user"] !== "ann") return { status: { code: 7 } };
    const value = {
      headers: [{ header: { key: "x-user", value: "checked" } }],
      headersToRemove: ["x-other"],
    };
    return { httpResponse: { case: "okResponse", value } };
  });
  const { call, seen } = await start({ decide: () => ({}), grpc: { uri, timeout: "5s" } });
  expect((await call("PUT /guarded?x=1", { "X-User": "ann", "x-other": "1" })).text).toBe("here");
  expect(seen).toEqual([{ user: "checked", other: undefined }]);
  expect(asked[0]?.attributes?.request?.http).toMatchObject({ method: "PUT", path: "/guarded?x=1" });
  expect(asked[0]?.attributes?.source?.principal).toBe("public/ns/default/shop");
  const denied = await call("PUT /guarded", { "X-User": "bob" });
  expect(denied.status).toBe(403);
  expect(seen).toHaveLength(1);
});

test("a gRPC server that is not there lets nobody in, or everybody when it says so", async () => {
  const uri = `http://127.0.0.1:${await freePort()}`;
  const closed = await start({ decide: () => ({}), grpc: { uri, statusOnError: 503 } });
  expect((await closed.call("GET /guarded")).status).toBe(503);
  const open = await start({ decide: () => ({}), grpc: { uri, failOpen: true } });
  expect((await open.call("GET /guarded")).status).toBe(200);
});
