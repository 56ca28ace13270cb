import { afterEach, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { createServer as createNodeServer, request as nodeRequest } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { createHttpClient } from "./client.ts";
import { ConnectError } from "./errors.ts";
import { rawClient, rawServer, until } from "./fixture-peer.ts";
import { issueCertificate } from "./fixture-tls.ts";
import { createHttpServer } from "./server.ts";
import type { HttpServerOptions } from "./server-options.ts";
import type { HttpAddress, HttpHandler, HttpReply } from "./types.ts";

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(handler: HttpHandler, options: Partial<HttpServerOptions> = {}): Promise<HttpAddress> {
  const server = createHttpServer({ handler, ...options });
  cleanups.push(() => server.close());
  const bound = await server.listen({ port: 0 });
  return { host: "127.0.0.1", port: "port" in bound ? bound.port : 0 };
}

/** What invoke does at its simplest: every part handed on, WebSockets included. */
function proxyTo(upstream: HttpAddress): HttpHandler {
  const client = createHttpClient();
  cleanups.push(() => client.close());
  return async ({ method, target, rawHeaders, body, signal }): Promise<HttpReply> => {
    const answer = await client.request(upstream, { method, target, headers: rawHeaders, body, signal });
    const { status, reason, upgrade } = answer;
    return {
      status,
      reason,
      headers: answer.rawHeaders,
      body: answer.body,
      takeOver: (socket, head) => {
        if (!upgrade) return;
        upgrade.socket.write(head);
        socket.write(upgrade.head);
        upgrade.socket.pipe(socket).pipe(upgrade.socket);
      },
    };
  };
}

test("a proxy of server and client passes 100 MB both ways in bounded memory", async () => {
  const size = 100_000_000;
  const hashes: string[] = [];
  const upstream = createNodeServer((message, answer) => {
    const hash = createHash("sha1");
    message.on("data", (chunk) => hash.update(chunk));
    message.pipe(answer);
    message.on("end", () => hashes.push(hash.digest("hex")));
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => upstream.close());
  const address = await serve(proxyTo({ host: "127.0.0.1", port: (upstream.address() as AddressInfo).port }));

  const block = Buffer.alloc(50_000, "0123456789");
  const sent = createHash("sha1");
  const back = createHash("sha1");
  const before = process.memoryUsage.rss();
  let highest = before;
  await new Promise<void>((resolve, reject) => {
    const request = nodeRequest(
      { ...address, method: "POST", headers: { "content-length": size } },
      (message) => {
        message.on("data", (chunk) => back.update(chunk));
        message.on("end", resolve);
      },
    );
    request.on("error", reject);
    let left = size;
    const more = (): void => {
      // What is held counts, not what the collector has not come to yet.
      if (left % 10_000_000 === 0) Bun.gc(true);
      highest = Math.max(highest, process.memoryUsage.rss());
      while (left > 0) {
        left -= block.length;
        sent.update(block);
        if (!request.write(block)) {
          request.once("drain", more);
          return;
        }
      }
      request.end();
    };
    more();
  });
  const digest = sent.digest("hex");
  expect(back.digest("hex")).toBe(digest);
  expect(hashes).toEqual([digest]);
  // Four ends in one process: still far from the 400 MB of four copies.
  expect(highest - before).toBeLessThan(150_000_000);
}, 30_000);

test("a proxy holds a fast upstream back for a slow client", async () => {
  let produced = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    while (true) {
      produced += 65_536;
      yield Buffer.alloc(65_536);
    }
  }
  const upstream = await serve(() => ({ status: 200, headers: [], body: endless() }));
  const { port } = await serve(proxyTo(upstream));
  const client = rawClient({ port });
  client.socket.pause();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  let before = -1;
  await until(() => {
    const isStill = produced > 0 && produced === before;
    before = produced;
    return isStill;
  }, "the producer to stop");
  expect(produced).toBeLessThan(40_000_000);
  client.socket.destroy();
});

test("a client that leaves takes the upstream request with it, streaming or waiting", async () => {
  const upstream = await rawServer((peer) => {
    peer.socket.on("data", () => {
      if (peer.received.includes("GET /stream"))
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    });
  });
  cleanups.push(() => upstream.close());
  const { port } = await serve(proxyTo({ host: "127.0.0.1", port: upstream.port }));
  for (const [i, target] of ["/wait", "/stream"].entries()) {
    const client = rawClient({ port });
    client.send(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
    await until(() => upstream.peers[i]?.received.includes(target) === true, "the upstream request");
    if (target === "/stream") await client.untilReceived("1\r\na\r\n");
    client.socket.destroy();
    await until(() => upstream.peers[i]?.isClosed === true, `the end of ${target}`);
  }
});

test("an upstream that breaks off cuts the client's reply short", async () => {
  const upstream = await rawServer((peer) => {
    peer.socket.on("data", () => {
      peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
      setTimeout(() => peer.socket.destroy(), 10);
    });
  });
  cleanups.push(() => upstream.close());
  const { port } = await serve(proxyTo({ host: "127.0.0.1", port: upstream.port }));
  const client = rawClient({ port });
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.untilEnded();
  expect(client.received).toEndWith("1\r\na\r\n");
});

test("an upload whose client breaks off is not completed upstream", async () => {
  const upstream = await rawServer(() => {});
  cleanups.push(() => upstream.close());
  const { port } = await serve(proxyTo({ host: "127.0.0.1", port: upstream.port }));
  const client = rawClient({ port });
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  await until(() => upstream.peers[0]?.received.includes("3\r\nabc\r\n") === true, "the first chunk");
  client.socket.destroy();
  await until(() => upstream.peers[0]?.isClosed === true, "the upstream end");
  expect(upstream.peers[0]?.received).not.toContain("0\r\n\r\n");
});

test("a WebSocket passes through", async () => {
  const upstream = Bun.serve({
    port: 0,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no", { status: 400 })),
    websocket: { message: (socket, message) => void socket.send(message) },
  });
  cleanups.push(() => upstream.stop(true));
  const { port } = await serve(proxyTo({ host: "127.0.0.1", port: upstream.port ?? 0 }));
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  const messages: string[] = [];
  socket.onmessage = (event) => messages.push(String(event.data));
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  const large = "x".repeat(1_000_000);
  socket.send("hello");
  socket.send(large);
  await until(() => messages.length === 2, "two messages");
  expect(messages).toEqual(["hello", large]);
  const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
  socket.close(3_001, "bye");
  expect((await closed).code).toBe(3_001);
});

test("HTTP/2 with prior knowledge and HTTP/1.1 share a port", async () => {
  const http2 = createHttp2Server((request, response) => response.end(`h2 ${request.url}`));
  const { port } = await serve(() => ({ status: 200, headers: [], body: "h1" }), {
    onHttp2: (socket) => http2.emit("connection", socket),
  });
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const texts = await Promise.all(
    ["/a", "/b"].map(
      (path) =>
        new Promise<string>((resolve, reject) => {
          const stream = session.request({ ":path": path });
          let text = "";
          stream.on("data", (chunk) => {
            text += chunk;
          });
          stream.on("end", () => resolve(text));
          stream.on("error", reject);
        }),
    ),
  );
  expect(texts).toEqual(["h2 /a", "h2 /b"]);
  const client = rawClient({ port });
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.untilReceived("h1");
  await new Promise<void>((resolve) => session.close(resolve));
  client.socket.destroy();
});

test("the client talks TLS, to those it can verify", async () => {
  const { cert, key, other } = await issueCertificate();
  const server = createHttpServer({
    handler: ({ target }) => ({ status: 200, headers: [], body: `tls ${target}` }),
  });
  const listener = createTlsServer({ cert, key, ALPNProtocols: ["http/1.1"] }, (socket) =>
    server.accept(socket),
  );
  listener.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    await server.close();
    listener.close();
  });
  const { port } = listener.address() as AddressInfo;
  const client = createHttpClient();
  cleanups.push(() => client.close());
  const get = { method: "GET", target: "/x", headers: [] };
  const trusted = { host: "127.0.0.1", port, tls: { serverName: "localhost", ca: cert } };
  for (let i = 0; i < 3; i++) {
    const answer = await client.request(trusted, get);
    expect(Buffer.from(await answer.body.bytes(100)).toString()).toBe("tls /x");
  }
  expect(server.connectionCount).toBe(1);
  const wrong = [
    { host: "127.0.0.1", port, tls: { serverName: "localhost" } },
    { host: "127.0.0.1", port, tls: { serverName: "localhost", ca: other } },
    { host: "127.0.0.1", port, tls: { serverName: "elsewhere", ca: cert } },
  ];
  for (const address of wrong)
    await expect(client.request(address, get)).rejects.toBeInstanceOf(ConnectError);
  const unverified = { host: "127.0.0.1", port, tls: { rejectUnauthorized: false } };
  expect((await client.request(unverified, get)).status).toBe(200);
});
