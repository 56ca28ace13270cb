import { afterEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { freePort } from "../../scripts/free-port.ts";
import { createGrpcClient } from "../../src/net/grpc/client.ts";
import { createGrpcServer } from "../../src/net/grpc/server.ts";
import { type AppHandler, fakeApp, startMecha, type TestMecha } from "../../src/testing/index.ts";
import { HTTPExtension_Verb } from "../../src/wire/dapr/proto/common/v1/common_pb.js";
import { InvokeServiceRequestSchema } from "../../src/wire/dapr/proto/runtime/v1/invoke_pb.js";
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
  paths?: string[];
  dataFolder?: string;
}

async function start({ decide, http = {}, grpc, more = "", paths = ["/guarded*"], ...shared }: Setup) {
  const authorizer = await server(decide);
  const seen: Record<string, string | undefined>[] = [];
  const app = await server((request) => {
    seen.push({ user: request.header("x-user"), other: request.header("x-other") });
    return { body: request.text === "" ? "here" : digest(request.text) };
  });
  const http_ = { uri: `http://127.0.0.1:${authorizer.port}`, timeout: "5s", ...http };
  const provider = { name: "gate", ...(grpc === undefined ? { http: http_ } : { grpc }) };
  const spec = {
    targetRefs: [{ kind: "App", name: "orders" }],
    action: "CUSTOM",
    provider,
    rules: [{ to: [{ operation: { paths } }] }],
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
    ...shared,
  });
  closers.push(() => mecha.stop());
  const call = (line: string, headers: Record<string, string> = {}, body?: string) =>
    callOrders(mecha, line, { headers, ...(body !== undefined && { body }) });
  return { call, seen, authorizer, mecha };
}

function callOrders(
  mecha: TestMecha,
  line: string,
  init: { headers: Record<string, string>; body?: string },
) {
  return mecha.http("shop", line.replace(" /", " /v1.0/invoke/orders/method/"), init);
}

const digest = (text: string): string => createHash("sha256").update(text).digest("hex");

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

/** No two places of it are alike. */
const long = Array.from({ length: 40_000 }, (_, at) => `${at};`).join("");

/** Pieces as they come, without a length said before. */
async function streamed(
  mecha: TestMecha,
  text: string,
  appId = "shop",
): Promise<{ status: number; text: string }> {
  const pieces = text.match(/.{1,10000}/gs) ?? [];
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(Buffer.from(piece));
      controller.close();
    },
  });
  const url = `http://127.0.0.1:${mecha.ports(appId).http}/v1.0/invoke/orders/method/guarded`;
  const answer = await fetch(url, { method: "POST", body, duplex: "half" } as RequestInit);
  return { status: answer.status, text: await answer.text() };
}

test("the server gets the body, and the app gets it whole", async () => {
  const asked: string[] = [];
  const { call, seen } = await start({
    http: { includeRequestBodyInCheck: { maxRequestBytes: 20 }, includeRequestHeadersInCheck: ["x-*"] },
    decide: ({ text, header }) => {
      asked.push(`${text} ${header("x-envoy-auth-partial-body")}`);
      return { status: text.includes("evil") ? 403 : 200 };
    },
  });
  const spoofed = { "x-envoy-auth-partial-body": "true" };
  expect((await call("POST /guarded", spoofed, "a good deed")).text).toBe(digest("a good deed"));
  expect((await call("POST /guarded", {}, "an evil deed")).status).toBe(403);
  expect((await call("GET /guarded")).text).toBe("here");
  expect(asked).toEqual(["a good deed false", "an evil deed false", " false"]);
  expect((await call("POST /guarded", {}, "a deed that is longer than 20 bytes")).status).toBe(413);
  expect(asked).toHaveLength(3);
  expect(seen).toHaveLength(2);
});

test("of a long body the server gets the start when it may, however it comes, and the app gets all of it", async () => {
  const asked: string[] = [];
  const body = { maxRequestBytes: 100_000, allowPartialMessage: true };
  const dataFolder = mkdtempSync(join(tmpdir(), "mecha-bodies-"));
  closers.push(() => rmSync(dataFolder, { recursive: true, force: true }));
  const { call, mecha } = await start({
    dataFolder,
    http: { includeRequestBodyInCheck: body },
    decide: ({ text, header }) => {
      asked.push(
        `${text.length} ${text === long.slice(0, text.length)} ${header("x-envoy-auth-partial-body")}`,
      );
      return {};
    },
  });
  expect((await call("POST /guarded", {}, long)).text).toBe(digest(long));
  expect(await streamed(mecha, long)).toEqual({ status: 200, text: digest(long) });
  const far = await startMecha({ dataFolder, apps: [{ appId: "far" }] });
  closers.push(() => far.stop());
  expect(await streamed(far, long, "far")).toEqual({ status: 200, text: digest(long) });
  expect(asked).toEqual(["100000 true true", "100000 true true", "100000 true true"]);
});

test("a body that is too long is refused however it comes, whatever failOpen says", async () => {
  const http = { includeRequestBodyInCheck: { maxRequestBytes: 100_000 }, failOpen: true };
  const { call, mecha, seen } = await start({ http, decide: () => ({}) });
  expect((await call("POST /guarded", {}, long)).status).toBe(413);
  expect((await streamed(mecha, long)).status).toBe(413);
  expect(seen).toEqual([]);
  expect((await streamed(mecha, long.slice(0, 50_000))).text).toBe(digest(long.slice(0, 50_000)));
});

test.each([
  [false, "body", "pay \uFFFD"],
  [true, "rawBody", Uint8Array.from(Buffer.from("706179 20 ff".replaceAll(" ", ""), "hex"))],
] as const)("a gRPC server gets the body as bytes: %p", async (packAsBytes, field, expected) => {
  const asked: CheckRequest[] = [];
  const uri = await grpcAuthorizer((request) => {
    asked.push(request);
    return {};
  });
  const requestBody = { maxRequestBytes: 100, packAsBytes };
  const grpc = { uri, timeout: "5s", includeRequestBodyInCheck: requestBody };
  const { mecha } = await start({ decide: () => ({}), grpc });
  const url = `http://127.0.0.1:${mecha.ports("shop").http}/v1.0/invoke/orders/method/guarded`;
  const body = Buffer.from("70617920ff", "hex");
  expect((await fetch(url, { method: "POST", body })).status).toBe(200);
  const http = asked[0]?.attributes?.request?.http;
  expect(http?.[field]).toEqual(expected as never);
  expect(http?.size).toBe(5n);
  expect(http?.headers["x-envoy-auth-partial-body"]).toBe("false");
});

test("a method call has its body checked, and a gRPC call that is passed on its messages in their frames", async () => {
  const asked: string[] = [];
  const { mecha } = await start({
    http: { includeRequestBodyInCheck: { maxRequestBytes: 10 } },
    decide: ({ text }) => {
      asked.push(text);
      return {};
    },
    paths: ["/guarded*", "/shop.Orders/*"],
  });
  const client = createGrpcClient({ host: "127.0.0.1", port: mecha.ports("shop").grpc });
  closers.push(() => client.close());
  const invoke = (data: string): Promise<string> => {
    const message = {
      method: "guarded",
      data: { value: Buffer.from(data) },
      httpExtension: { verb: HTTPExtension_Verb.POST },
    };
    const request = create(InvokeServiceRequestSchema, { id: "orders", message });
    const path = "/dapr.proto.runtime.v1.Dapr/InvokeService";
    return outcome(client.unary(path, toBinary(InvokeServiceRequestSchema, request)));
  };
  expect(await invoke("good")).toBe("ok");
  expect(await invoke("more than ten bytes")).toBe(
    "8 failed to invoke, id: orders, err: rpc error: code = ResourceExhausted desc = the body is larger than may be checked",
  );
  expect(asked).toEqual(["good"]);
  const metadata: [string, string][] = [["dapr-app-id", "orders"]];
  const proxied = (text: string) =>
    outcome(client.unary("/shop.Orders/Pay", Buffer.from(text), { metadata }));
  expect(await proxied("x")).toBe("12 the application does not speak gRPC");
  expect(asked).toEqual(["good", "\0\0\0\0\u0001x"]);
  expect(await proxied("much too long")).toBe("8 the body is larger than may be checked");
  expect(asked).toHaveLength(2);
});

function outcome(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "ok",
    (error: Error & { code: number }) => `${error.code} ${error.message}`,
  );
}
