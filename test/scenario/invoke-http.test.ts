import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type http from "node:http";
import { Machine, type Reply, type Sidecar, send } from "./invoke-fixture.ts";

const machine = new Machine();
let caller: Sidecar;
let callee: Sidecar;

/** Answers with the request it got, as JSON; `x-status` chooses the status. */
function echo(request: http.IncomingMessage, response: http.ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const { method, url, rawHeaders } = request;
    const body = Buffer.concat(chunks).toString();
    response.writeHead(Number(request.headers["x-status"] ?? 200), "Fine", [
      ["Content-Type", "application/json"],
      ["Set-Cookie", "a=1"],
      ["Set-Cookie", "b=2"],
      ["X-Custom-Response", "kept"],
      ["Keep-Alive", "timeout=5"],
      ["Proxy-Authenticate", "Basic"],
      ["HTTP2-Settings", "AAM"],
      ["Upgrade", "h2c"],
      ["X-Named", "1"],
      ["Connection", "x-named"],
      ["Location", "/elsewhere"],
      ["mecha-peer-error", "13"],
    ]);
    response.end(method === "HEAD" ? undefined : JSON.stringify({ method, url, rawHeaders, body }));
  });
}

beforeAll(async () => {
  const app = await machine.app(echo);
  caller = await machine.sidecar({ appId: "caller", appPort: app.port, appToken: "own-token" });
  callee = await machine.sidecar({
    appId: "callee",
    namespace: "shop",
    appPort: app.port,
    appToken: "app-token",
  });
});
afterAll(() => machine.close());

interface Seen {
  method: string;
  url: string;
  rawHeaders: string[];
  body: string;
}
const seen = (reply: Reply): Seen => JSON.parse(reply.text);
/** All values of a header as the app saw them. */
function values({ rawHeaders }: Seen, lowerName: string): string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === lowerName);
}

const routes = [
  ["own app", "/v1.0/invoke/caller/method"],
  ["peer", "/v1.0/invoke/callee.shop/method"],
] as const;

describe.each(routes)("HTTP to HTTP, %s", (_, prefix) => {
  test.each(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])(
    "passes %s and its body",
    async (method) => {
      const body = method === "GET" ? undefined : "some body";
      // Node frames a DELETE's body only when told its length.
      const headers = body === undefined ? {} : { "Content-Length": body.length };
      const reply = await send(caller.url, `${prefix}/a/b?x=%2F&y=//`, { method, headers, body });
      expect(reply.status).toBe(200);
      expect(seen(reply)).toMatchObject({ method, url: "/a/b?x=%2F&y=//", body: body ?? "" });
    },
  );

  test("passes HEAD without a body", async () => {
    const reply = await send(caller.url, `${prefix}/x`, { method: "HEAD" });
    expect(reply).toMatchObject({ status: 200, text: "" });
    expect(reply.headers["x-custom-response"]).toBe("kept");
  });

  test.each([301, 400, 404, 409, 500, 502, 503])("passes status %d untouched", async (status) => {
    const reply = await send(caller.url, `${prefix}/x`, { headers: { "x-status": status } });
    expect(reply.status).toBe(status);
    expect(seen(reply).url).toBe("/x");
    expect(reply.headers.location).toBe("/elsewhere");
  });
});

describe.each(routes)("headers, %s", (kind, prefix) => {
  const isPeer = kind === "peer";

  test("drops hop-by-hop headers of the request and keeps the others", async () => {
    const headers = {
      Connection: "keep-alive, x-named",
      "X-Named": "1",
      Upgrade: "websocket",
      "HTTP2-Settings": "AAMAAABkAAQAAP__",
      "Keep-Alive": "timeout=5",
      TE: "trailers",
      "Proxy-Authorization": "Basic dGVzdDp0ZXN0",
      "Proxy-Connection": "keep-alive",
      "X-Custom": ["one", "two"],
      Authorization: "Bearer token",
      Accept: "text/event-stream",
    };
    const got = seen(await send(caller.url, `${prefix}/x`, { headers }));
    for (const name of ["x-named", "upgrade", "http2-settings", "keep-alive", "te"]) {
      expect(values(got, name)).toEqual([]);
    }
    expect(values(got, "proxy-authorization").concat(values(got, "proxy-connection"))).toEqual([]);
    expect(values(got, "x-custom")).toEqual(["one", "two"]);
    expect(values(got, "authorization")).toEqual(["Bearer token"]);
    expect(got.rawHeaders).toContain("X-Custom");
  });

  test("states who calls, with the app's token, whatever the caller says", async () => {
    const headers = {
      "dapr-api-token": "callers",
      "dapr-caller-app-id": "spoofed",
      "Dapr-Caller-Namespace": "spoofed",
      "dapr-callee-app-id": "spoofed",
      "mecha-peer-token": "spoofed",
      "X-Forwarded-For": "1.1.1.1",
    };
    const got = seen(await send(caller.url, `${prefix}/x`, { headers }));
    expect(values(got, "dapr-caller-app-id")).toEqual(["caller"]);
    expect(values(got, "dapr-caller-namespace")).toEqual(["default"]);
    expect(values(got, "dapr-callee-app-id")).toEqual([isPeer ? "callee" : "caller"]);
    expect(values(got, "dapr-api-token")).toEqual([isPeer ? "app-token" : "own-token"]);
    expect(got.rawHeaders.some((name) => name.startsWith("mecha-"))).toBe(false);
    const forwarded = isPeer ? ["1.1.1.1", "10.1.2.3"] : ["1.1.1.1"];
    expect(values(got, "x-forwarded-for")).toEqual(forwarded);
    expect(values(got, "x-forwarded-host")).toEqual(isPeer ? ["testhost"] : []);
    expect(values(got, "forwarded")).toEqual(isPeer ? ["for=10.1.2.3;by=10.1.2.3;host=testhost"] : []);
  });
});

describe.each(routes)("traces, answers and paths, %s", (_, prefix) => {
  test("continues the trace", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01`, tracestate: "a=b", baggage: "k=v" };
    const got = seen(await send(caller.url, `${prefix}/x`, { headers }));
    const [traceparent = "", ...more] = values(got, "traceparent");
    expect(more).toEqual([]);
    // Nobody exports spans here: an id of this hop would name a parent that nobody has.
    expect(traceparent).toBe(headers.traceparent);
    expect(values(got, "tracestate")).toEqual(["a=b"]);
    expect(values(got, "baggage")).toEqual(["k=v"]);
  });

  test("drops hop-by-hop headers of the answer and keeps the others", async () => {
    const reply = await send(caller.url, `${prefix}/x`);
    for (const name of ["keep-alive", "proxy-authenticate", "http2-settings", "upgrade", "x-named"]) {
      expect(reply.headers[name]).toBeUndefined();
    }
    expect(reply.headers["mecha-peer-error"]).toBeUndefined();
    expect(reply.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    expect(reply.headers["x-custom-response"]).toBe("kept");
    expect(reply.headers["content-length"]).toBe(String(reply.text.length));
  });

  test.each([
    ["/admin%2F..%2Fpublic", "/public"],
    ["//a//./b/", "/a/b"],
    ["/test%22stream", "/test%22stream"],
  ])("normalises %s", async (path, expected) => {
    expect(seen(await send(caller.url, `${prefix}${path}`)).url).toBe(expected);
  });

  test.each(["/a%23b", "/a%3Fb", "/a%00b", "/a%0Db", "/a%25b"])("refuses %s", async (path) => {
    const reply = await send(caller.url, `${prefix}${path}`);
    expect(reply.status).toBe(500);
    expect(JSON.parse(reply.text)).toMatchObject({ errorCode: "ERR_DIRECT_INVOKE" });
    expect(reply.text).toContain("code = InvalidArgument desc = invalid method");
  });
});

test("dapr-app-id header: the whole path is the method", async () => {
  const headers = { "dapr-app-id": "callee.shop", "x-a": "1" };
  const got = seen(await send(caller.url, "/orders/1?q", { headers }));
  expect(got.url).toBe("/orders/1?q");
  expect(values(got, "dapr-app-id")).toEqual([]);
});

test("basic authentication as address does not reach the app", async () => {
  const authorization = `Basic ${Buffer.from("dapr-app-id:callee.shop").toString("base64")}`;
  const got = seen(await send(caller.url, "/orders", { headers: { authorization } }));
  expect(got.url).toBe("/orders");
  expect(values(got, "authorization")).toEqual([]);
});

test("an app of another namespace has to be named with it", async () => {
  const reply = await send(caller.url, "/v1.0/invoke/callee/method/x");
  expect(reply.status).toBe(500);
  expect(JSON.parse(reply.text)).toEqual({
    errorCode: "ERR_DIRECT_INVOKE",
    message: "failed to invoke, id: callee, err: couldn't find service: callee",
  });
});

test("errors name the cause: no app port, no app listening, too many dots", async () => {
  const bare = await machine.sidecar({ appId: "bare" });
  const dead = await machine.sidecar({ appId: "dead", appPort: 1 });
  const message = async (url: string, id: string): Promise<string> =>
    JSON.parse((await send(url, `/v1.0/invoke/${id}/method/x`)).text).message;
  expect(await message(bare.url, "bare")).toBe(
    "failed to invoke, id: bare, err: cannot invoke local endpoint: app channel not initialized",
  );
  expect(await message(caller.url, "bare")).toBe(
    "failed to invoke, id: bare, err: rpc error: code = Internal desc = app channel is not initialized",
  );
  expect(await message(caller.url, "dead")).toStartWith(
    "failed to invoke, id: dead, err: rpc error: code = Internal desc = error invoking app channel: ",
  );
  expect(await message(dead.url, "dead")).toStartWith("failed to invoke, id: dead, err: ");
  expect(await message(caller.url, "a.b.c")).toBe("failed to invoke, id: a.b.c, err: invalid app id a.b.c");
});

test("the peer port serves nobody without its token", async () => {
  const url = `http://127.0.0.1:${callee.peerPort.port}`;
  for (const headers of [{}, { "mecha-peer-token": "wrong" }, { "mecha-peer-token": caller.peerToken }]) {
    const all = { ...headers, "mecha-peer-app": "shop/callee", "dapr-caller-app-id": "caller" };
    const reply = await send(url, "/x", { headers: all });
    expect(reply).toMatchObject({ status: 500, text: "" });
    expect(reply.headers["mecha-peer-error"]).toBe("16");
  }
  const headers = { "mecha-peer-token": callee.peerToken, "mecha-peer-app": "default/caller" };
  expect((await send(url, "/x", { headers })).headers["mecha-peer-error"]).toBe("5");
});

test("apps of one process are called without a second hop", async () => {
  const app = await machine.app(echo);
  const sibling = await machine.sidecar({ appId: "sibling", appPort: app.port, registry: caller.registry });
  await sibling.peerPort.close();
  const got = seen(await send(caller.url, "/v1.0/invoke/sibling/method/x"));
  expect(values(got, "dapr-caller-app-id")).toEqual(["caller"]);
  expect(values(got, "x-forwarded-for")).toEqual(["10.1.2.3"]);
});
