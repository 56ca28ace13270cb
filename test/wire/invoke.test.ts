import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { errors } from "../../src/errors.ts";
import { GrpcError } from "../../src/net/grpc/types.ts";
import type { Invoker, InvokeUnaryRequest } from "../../src/peer/invoker.ts";
import { Dapr } from "../../src/wire/dapr/proto/runtime/v1/dapr_pb.js";
import { errorBody, exchanges } from "./exchanges.ts";
import { failureOf, startServer, type TestServer } from "./server.ts";

interface Seen {
  id: string;
  method: string;
  target: string;
  body: string;
  traced: boolean;
}

let server: TestServer;
let seen: Seen[] = [];
let unary: InvokeUnaryRequest[] = [];

/** Answers with what it was asked; the app `broken` fails. */
const invoker: Invoker = {
  async invokeHttp({ id, target, request, span }) {
    if (id === "broken") throw errors.INVOKE(id, "connection refused");
    const body = Buffer.from(await request.body.bytes(1 << 20)).toString();
    seen.push({ id, method: request.method, target, body, traced: span.context.traceId.length === 32 });
    return { status: 299, reason: "Fine", headers: ["X-From", id], body: "answer" };
  },
  async invokeUnary(request) {
    unary.push(request);
    return {
      data: { typeUrl: "t", value: request.data.value },
      contentType: "text/plain",
      headers: [["dapr-http-status", "200"]],
      trailers: [],
    };
  },
  upstreams: () => [],
  refsNotPermitted: () => [],
  routeHttp: () => Promise.reject(new Error("no gateway in this test")),
  routeGrpc: () => ({ kind: "proxy", connect: () => Promise.reject(new Error("no gateway in this test")) }),
  proxy: () => ({ kind: "proxy", connect: () => Promise.reject(new GrpcError(14, "nobody there")) }),
  close: async () => {},
};

beforeAll(async () => {
  server = await startServer({ invoker });
});
beforeEach(() => {
  seen = [];
  unary = [];
});
afterAll(() => server.close());

describe("invoke over HTTP", () => {
  const basic = { authorization: `Basic ${btoa("dapr-app-id:cart")}` };
  test.each([
    ["GET", "/v1.0/invoke/cart/method/items/1?a=b&a=c", {}, "cart", "/items/1?a=b&a=c"],
    ["PATCH", "/v1.0/invoke/cart.prod/method/a%2Fb//c", {}, "cart.prod", "/a%2Fb//c"],
    ["POST", "/v1.0/invoke/cart/method/", {}, "cart", "/"],
    ["DELETE", "/v1.0/invoke/http%3A%2F%2Fapi%3A80/method/x", {}, "http://api:80", "/x"],
    ["PUT", "/v1.0/invoke/http://api:80/method/x", {}, "http://api:80", "/x"],
    ["POST", "/items/1?q=%20", { "dapr-app-id": "cart" }, "cart", "/items/1?q=%20"],
    ["OPTIONS", "/any", basic, "cart", "/any"],
    ["GET", "/v1.0/invoke/cart/method/%ff", {}, "cart", "/%ff"],
  ] as [string, string, Record<string, string>, string, string][])(
    "%s %s",
    async (method, path, headers, id, target) => {
      const body = method === "GET" ? undefined : "body";
      const answer = await server.http(`${method} ${path}`, { headers, body });
      expect([answer.status, answer.body, answer.headers["x-from"]]).toEqual([299, "answer", id]);
      expect(seen).toEqual([{ id, method, target, body: body ?? "", traced: true }]);
    },
  );

  test("a path of the API keeps its meaning whatever the header says", async () => {
    const answer = await server.http("GET /v1.0/metadata", { headers: { "dapr-app-id": "cart" } });
    expect(JSON.parse(answer.body).id).toBe("shop");
  });

  test("a path that climbs out of the invoke prefix is judged and served as what it is", async () => {
    const answer = await server.http("GET /v1.0/invoke/cart/method/../../../metadata");
    expect(JSON.parse(answer.body).id).toBe("shop");
    expect(seen).toEqual([]);
  });

  const nobody = errorBody(
    "ERR_DIRECT_INVOKE",
    "failed getting app id either from the URL path or the header dapr-app-id",
  );
  exchanges(
    () => server,
    [
      { title: "nobody named", line: "GET /", status: 404, reply: nobody },
      { title: "nobody named", line: "POST /v1.0/nothing", body: "x", status: 404, reply: nobody },
      { title: "no method", line: "GET /v1.0/invoke/cart", status: 404, reply: nobody },
      { title: "wrong verb of the API", line: "DELETE /v1.0/metadata", status: 404, reply: nobody },
      {
        title: "failing call",
        line: "GET /v1.0/invoke/broken/method/x",
        status: 500,
        reply: errorBody("ERR_DIRECT_INVOKE", "failed to invoke, id: broken, err: connection refused"),
      },
    ],
  );
});

describe("invoke over gRPC", () => {
  test("InvokeService carries everything over", async () => {
    const headers: [string, string][] = [];
    const reply = await server.call(
      Dapr.method.invokeService,
      {
        id: "cart",
        message: {
          method: "items",
          data: { typeUrl: "any", value: Uint8Array.of(1, 2) },
          contentType: "application/json",
          httpExtension: { verb: 4, querystring: "a=b" },
        },
      },
      { onHeaders: (metadata) => headers.push(...metadata) },
    );
    expect(unary).toMatchObject([
      { id: "cart", method: "items", contentType: "application/json", verb: "PUT", querystring: "a=b" },
    ]);
    expect([...(reply.data?.value ?? [])]).toEqual([1, 2]);
    expect(reply.contentType).toBe("text/plain");
    expect(headers).toContainEqual(["dapr-http-status", "200"]);
  });

  test("InvokeService passes on that no verb was given, and without a message is refused", async () => {
    await server.call(Dapr.method.invokeService, { id: "cart", message: { method: "m" } });
    await server.call(Dapr.method.invokeService, { id: "cart", message: { method: "m", httpExtension: {} } });
    expect(unary.map(({ verb }) => verb)).toEqual(["", "NONE"]);
    const failure = await failureOf(server.call(Dapr.method.invokeService, { id: "cart" }));
    expect(failure.message).toBe("failed to invoke, id: cart, err: message is required");
  });

  test("other services go to the proxy, whose error comes through", async () => {
    const failure = await failureOf(server.grpc.unary("/shop.Cart/Get", new Uint8Array(0)));
    expect([failure.code, failure.message]).toEqual([14, "nobody there"]);
    const text = server.app.telemetry.metrics.text();
    expect(text).toContain('grpc_server_method="/shop.Cart/Get",grpc_server_status="Unavailable"} 1');
  });
});
