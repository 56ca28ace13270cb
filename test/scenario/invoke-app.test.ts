import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type { Server } from "node:net";
import type { AppChannel } from "../../src/app/channel.ts";
import { Machine, type Sidecar, send, until } from "./invoke-fixture.ts";
import { type Authority, createAuthority } from "./tls-fixture.ts";

const machine = new Machine();
let authority: Authority;
beforeAll(() => {
  authority = createAuthority("mecha test CA");
});
afterAll(() => machine.close());

type Listener = (request: http.IncomingMessage, response: http.ServerResponse) => void;

/** Echoes the body with what it learnt in headers. */
const echo: Listener = (request, response) => {
  response.setHeader("X-Target", `${request.method} ${request.url}`);
  response.setHeader("X-Token", String(request.headers["dapr-api-token"]));
  response.setHeader("Set-Cookie", ["a=1", "b=2"]);
  if (request.headers["x-status"]) response.statusCode = Number(request.headers["x-status"]);
  request.pipe(response);
};

describe.each(["https", "h2c"] as const)("an app that speaks %s", (protocol) => {
  let sidecar: Sidecar;
  beforeAll(async () => {
    const server =
      protocol === "https"
        ? https.createServer(authority.leaf, echo)
        : http2.createServer((request, response) =>
            echo(request as unknown as http.IncomingMessage, response as unknown as http.ServerResponse),
          );
    const appPort = await machine.listen(server as Server);
    sidecar = await machine.sidecar({ appId: `app-${protocol}`, appPort, protocol, appToken: "t" });
  });

  test("is called with method, target, body, token and status passed", async () => {
    const path = `/v1.0/invoke/app-${protocol}/method/a/b?c=1`;
    const body = "x".repeat(200_000);
    const headers = { "Content-Length": body.length, "x-status": "418" };
    const reply = await send(sidecar.url, path, { method: "PUT", body, headers });
    expect(reply.status).toBe(418);
    expect(reply.text).toBe(body);
    expect(reply.headers["x-target"]).toBe("PUT /a/b?c=1");
    expect(reply.headers["x-token"]).toBe("t");
    expect(reply.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
  });

  test("answers HEAD and an empty body", async () => {
    const path = `/v1.0/invoke/app-${protocol}/method/x`;
    expect(await send(sidecar.url, path, { method: "HEAD" })).toMatchObject({ status: 200, text: "" });
    expect(await send(sidecar.url, path)).toMatchObject({ status: 200, text: "" });
  });

  test("serves many calls at once", async () => {
    const path = `/v1.0/invoke/app-${protocol}/method/x`;
    const bodies = Array.from({ length: 50 }, (_, i) => `body ${i}`);
    const replies = await Promise.all(
      bodies.map((body) =>
        send(sidecar.url, path, { method: "POST", body, headers: { "Content-Length": body.length } }),
      ),
    );
    expect(replies.map(({ text }) => text)).toEqual(bodies);
  });
});

describe("HTTPEndpoint and URL targets", () => {
  let sidecar: Sidecar;
  let port: number;
  let tlsPort: number;
  beforeAll(async () => {
    const echoHeaders: Listener = (request, response) =>
      response.end(JSON.stringify({ url: request.url, headers: request.headers }));
    port = (await machine.app(echoHeaders)).port;
    const mutual = { ...authority.leaf, ca: authority.ca, requestCert: true, rejectUnauthorized: true };
    // https servers of Bun check no client certificates; http2 ones that allow HTTP/1.1 do.
    const server = http2.createSecureServer({ ...mutual, allowHTTP1: true }, (request, response) =>
      echoHeaders(request as unknown as http.IncomingMessage, response as unknown as http.ServerResponse),
    );
    tlsPort = await machine.listen(server as unknown as Server);
    const stranger = createAuthority("someone else");
    const baseUrl = `https://localhost:${tlsPort}`;
    sidecar = await machine.sidecar({
      appId: "outward",
      appToken: "secret",
      endpoints: {
        site: { baseUrl: `http://127.0.0.1:${port}/base/`, headers: [["X-Key", "endpoint's"]] },
        secure: { baseUrl, headers: [], tls: { ca: authority.ca, ...authority.leaf } },
        untrusting: { baseUrl, headers: [], tls: { ca: stranger.ca, ...authority.leaf } },
        impostor: { baseUrl, headers: [], tls: { ca: authority.ca, ...stranger.leaf } },
      },
    });
  });

  test("an endpoint's base path and headers apply, and no identity or token leaks", async () => {
    const headers = { "X-Key": "caller's", "X-Other": "1", "dapr-api-token": "t", traceparent: "00-x" };
    const reply = await send(sidecar.url, "/v1.0/invoke/site/method/a?b", { headers });
    const got = JSON.parse(reply.text);
    expect(got.url).toBe("/base/a?b");
    expect(got.headers).toMatchObject({ "x-key": "endpoint's", "x-other": "1" });
    expect(got.headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    expect(Object.keys(got.headers).filter((name) => /^dapr-|forwarded|^mecha-/.test(name))).toEqual([]);
  });

  test("an endpoint with client TLS is reached; with another CA or certificate it is not", async () => {
    expect(JSON.parse((await send(sidecar.url, "/v1.0/invoke/secure/method/hello")).text).url).toBe("/hello");
    for (const id of ["untrusting", "impostor"]) {
      const reply = await send(sidecar.url, `/v1.0/invoke/${id}/method/hello`);
      expect(reply.status).toBe(500);
      expect(JSON.parse(reply.text)).toMatchObject({ errorCode: "ERR_DIRECT_INVOKE" });
    }
  });

  test("a URL is called, plain and percent-encoded", async () => {
    for (const id of [`http://127.0.0.1:${port}`, encodeURIComponent(`http://127.0.0.1:${port}`)]) {
      const reply = await send(sidecar.url, `/v1.0/invoke/${id}/method/a/b?c`);
      expect(JSON.parse(reply.text).url).toBe("/a/b?c");
    }
  });
});

test("app-max-concurrency bounds calls until their answers have ended, own and remote ones together", async () => {
  let active = 0;
  let highest = 0;
  const gate = Promise.withResolvers<void>();
  const { port } = await machine.app(async (_, response) => {
    highest = Math.max(highest, ++active);
    response.write("head first");
    await gate.promise;
    active--;
    response.end();
  });
  const limited = await machine.sidecar({ appId: "limited", appPort: port, maxConcurrency: 2 });
  const other = await machine.sidecar({ appId: "other" });
  const call = (url: string): Promise<unknown> => send(url, "/v1.0/invoke/limited/method/x");
  const calls = [limited.url, other.url, limited.url, other.url, limited.url].map(call);
  await until(() => active === 2);
  gate.resolve();
  await Promise.all(calls);
  expect(highest).toBe(2);
});

test("a caller that leaves while it waits for a slot takes none", async () => {
  let hits = 0;
  const gate = Promise.withResolvers<void>();
  const { port } = await machine.app(async (_, response) => {
    hits++;
    await gate.promise;
    response.end("ok");
  });
  const { url } = await machine.sidecar({ appId: "busy", appPort: port, maxConcurrency: 1 });
  const path = "/v1.0/invoke/busy/method/x";
  const first = send(url, path);
  await until(() => hits === 1);
  const abort = new AbortController();
  const waiting = send(url, path, { signal: abort.signal });
  abort.abort();
  await expect(waiting).rejects.toThrow();
  const last = send(url, path);
  gate.resolve();
  expect((await first).text).toBe("ok");
  expect((await last).text).toBe("ok");
  expect(hits).toBe(2);
});

test("an unread answer gives its slot back", async () => {
  const { port } = await machine.app((_, response) => response.end("unread"));
  const { channel } = await machine.sidecar({ appId: "unread", appPort: port, maxConcurrency: 1 });
  for (let i = 0; i < 3; i++) {
    const response = await (channel as AppChannel).http({ method: "GET", target: "/", headers: [] });
    expect(response.status).toBe(200);
  }
});

test("invocation is refused while the app is unhealthy, here and from a peer, and served again after", async () => {
  let isWell = false;
  let probes = 0;
  const { port } = await machine.app((request, response) => {
    if (request.url === "/healthz") {
      probes++;
      response.statusCode = isWell ? 200 : 503;
    }
    response.end("served");
  });
  const health = { path: "/healthz", probeIntervalMs: 10, probeTimeoutMs: 1000, threshold: 2 };
  const sick = await machine.sidecar({ appId: "sick", appPort: port, health });
  const other = await machine.sidecar({ appId: "visitor" });
  const channel = sick.channel as AppChannel;
  const changes: boolean[] = [];
  channel.onHealthChange((isHealthy) => changes.push(isHealthy));
  await channel.waitUntilReachable(new AbortController().signal);
  await until(() => probes > 1);
  const path = "/v1.0/invoke/sick/method/x";
  expect((await send(sick.url, path)).text).toContain(
    "rpc error: code = Internal desc = app is not in a healthy state",
  );
  expect((await send(other.url, path)).text).toContain("app is not in a healthy state");
  isWell = true;
  await until(() => channel.isHealthy);
  expect((await send(other.url, path)).text).toBe("served");
  isWell = false;
  await until(() => !channel.isHealthy);
  expect(changes).toEqual([true, false]);
});

test("waitUntilReachable() ends when the app listens, and early when aborted", async () => {
  const { port, server } = await machine.app((_, response) => response.end());
  await new Promise((resolve) => server.close(resolve));
  const { channel } = await machine.sidecar({ appId: "late", appPort: port });
  const abort = new AbortController();
  const aborted = (channel as AppChannel).waitUntilReachable(abort.signal);
  abort.abort(new Error("stopped"));
  await expect(aborted).rejects.toThrow("stopped");
  const reached = (channel as AppChannel).waitUntilReachable(new AbortController().signal);
  server.listen(port, "127.0.0.1");
  await reached;
});
