import { afterEach, expect, spyOn, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createNodeServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHttpClient, type HttpClientOptions } from "./client.ts";
import {
  BodyAborted,
  BodyTooLarge,
  ConnectError,
  ConnectionLost,
  HttpParseError,
  InvalidMessage,
  RequestAborted,
  ResponseTimeout,
} from "./errors.ts";
import { type RawPeer, type RawServer, rawServer, until } from "./fixture-peer.ts";
import type { HttpAddress, HttpClient, HttpResponse } from "./types.ts";

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function newClient(options: HttpClientOptions = {}): HttpClient {
  const client = createHttpClient(options);
  cleanups.push(() => client.close());
  return client;
}

async function nodeServer(
  handler: (message: IncomingMessage, answer: ServerResponse) => void,
): Promise<HttpAddress & { connections: () => number }> {
  let connections = 0;
  const server = createNodeServer(handler);
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port, connections: () => connections };
}

/** A server that answers every request head with the next of `answers`, and the last one again and again. */
async function scripted(...answers: string[]): Promise<{ server: RawServer; address: HttpAddress }> {
  let next = 0;
  const server = await rawServer((peer) => {
    peer.socket.on("data", () => {
      peer.send(answers[Math.min(next++, answers.length - 1)] as string);
    });
  });
  cleanups.push(() => server.close());
  return { server, address: { host: "127.0.0.1", port: server.port } };
}

async function textOf(response: HttpResponse): Promise<string> {
  return Buffer.from(await response.body.bytes(10_000_000)).toString();
}

const get = { method: "GET", target: "/", headers: [] };

test("client.request() reads node:http's answers: length, chunks, none, and until close", async () => {
  const address = await nodeServer((message, answer) => {
    if (message.url === "/length") answer.setHeader("content-length", "5").end("hello");
    else if (message.url === "/none") answer.writeHead(204).end();
    else if (message.url === "/close") answer.writeHead(200, { connection: "close" }).end("closing");
    else {
      answer.write("chunk");
      setTimeout(() => answer.end("ed"), 5);
    }
  });
  const client = newClient();
  for (const [target, text] of [
    ["/length", "hello"],
    ["/chunks", "chunked"],
    ["/none", ""],
    ["/close", "closing"],
  ]) {
    const response = await client.request(address, { ...get, target: target as string });
    expect(await textOf(response)).toBe(text as string);
  }
  expect(address.connections()).toBe(1);
  const { body } = await client.request(address, { ...get, method: "HEAD", target: "/length" });
  expect(body.bytes(0)).toEqual(new Uint8Array(0));
  expect(address.connections()).toBe(2);
});

test("client.request() sends bytes, text and streams as node:http understands them", async () => {
  const address = await nodeServer((message, answer) => {
    let text = "";
    message.on("data", (chunk) => {
      text += chunk;
    });
    message.on("end", () => {
      const { "content-length": length, "transfer-encoding": coding, host } = message.headers;
      answer.end(JSON.stringify({ method: message.method, length, coding, host, text }));
    });
  });
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const piece of ["a", "", "bc"]) yield Buffer.from(piece);
  }
  const client = newClient();
  const host = `127.0.0.1:${address.port}`;
  const ask = async (
    body: Uint8Array | string | AsyncIterable<Uint8Array> | undefined,
    headers: string[] = [],
  ) =>
    JSON.parse(await textOf(await client.request(address, { method: "POST", target: "/", headers, body })));
  expect(await ask(Buffer.from("abc"))).toEqual({ method: "POST", length: "3", host, text: "abc" });
  expect(await ask("é", ["Host", "other"])).toEqual({
    method: "POST",
    length: "2",
    host: "other",
    text: "é",
  });
  expect(await ask(undefined)).toEqual({ method: "POST", length: "0", host, text: "" });
  expect(await ask(pieces())).toEqual({ method: "POST", coding: "chunked", host, text: "abc" });
  expect(await ask(pieces(), ["content-length", "3"])).toEqual({
    method: "POST",
    length: "3",
    host,
    text: "abc",
  });
  expect(address.connections()).toBe(1);
});

test("a small response is whole and synchronous", async () => {
  const { address } = await scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi");
  const response = await newClient().request(address, get);
  expect(response.body.bytes(2)).toBeInstanceOf(Uint8Array);
  expect(response.rawHeaders).toEqual(["Content-Length", "2", "X-A", "1", "x-a", "2"]);
  expect(response.header("x-a")).toBe("1, 2");
  expect(response.reason).toBe("OK");
});

test("client.request() skips interim responses and keeps odd statuses", async () => {
  const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  const { address } = await scripted(`${interim}HTTP/1.1 299 Hm hm\r\nContent-Length: 0\r\n\r\n`);
  const response = await newClient().request(address, get);
  expect([response.status, response.reason]).toEqual([299, "Hm hm"]);
});

const length0 = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
const wrongAnswers = {
  "two lengths": `${length0}Content-Length: 1\r\n\r\n`,
  "length and chunked": `${length0}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  "an unknown coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
  "a bad length": "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
  "a folded field": `${length0}X: 1\r\n 2\r\n\r\n`,
  "a bare LF": "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
  "a space before the colon": "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
  "a short status": "HTTP/1.1 20 OK\r\n\r\n",
  "a status with letters": "HTTP/1.1 2x0 OK\r\n\r\n",
  "a long status": "HTTP/1.1 2000 OK\r\n\r\n",
  "another version": "HTTP/2.0 200 OK\r\n\r\n",
  "another protocol": "SSH-2.0-OpenSSH_9.0\r\n",
  "a control byte": `${length0}X: \x01\r\n\r\n`,
  "an unasked 101": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
  "endless interim responses": "HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
  "an endless head": `${length0}X: ${"a".repeat(70_000)}`,
};

for (const [name, bytes] of Object.entries(wrongAnswers)) {
  test(`client.request() rejects an answer with ${name}`, async () => {
    const { address, server } = await scripted(bytes);
    expect(newClient().request(address, get)).rejects.toBeInstanceOf(HttpParseError);
    await until(() => server.peers[0]?.isClosed === true, "the connection's end");
  });
}

test("a broken chunk fails the body, not the response", async () => {
  const { address, server } = await scripted("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
  const response = await newClient().request(address, get);
  server.peers[0]?.send("zzz");
  await expect(Promise.resolve(response.body.bytes(100))).rejects.toBeInstanceOf(BodyAborted);
});

test("a body cut short fails with BodyAborted", async () => {
  const server = await rawServer((peer) => {
    peer.socket.on("data", () => peer.socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
  });
  cleanups.push(() => server.close());
  const response = await newClient().request({ host: "127.0.0.1", port: server.port }, get);
  expect(async () => await response.body.bytes(100)).toThrow(BodyAborted);
});

test("body.bytes() beyond its limit throws and gives the connection up", async () => {
  const { address, server } = await scripted("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
  const client = newClient();
  const response = await client.request(address, get);
  expect(() => response.body.bytes(999)).toThrow(BodyTooLarge);
  await until(() => server.peers[0]?.isClosed === true, "the connection's end");
});

test("client.request() keeps a connection whose answer and request are over, and no other", async () => {
  const { address, server } = await scripted(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 Stolen\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  );
  const client = newClient();
  const counts: number[] = [];
  for (let i = 0; i < 6; i++) {
    const response = await client.request(address, get);
    expect(response.reason).toBe("OK");
    await response.body.bytes(2);
    counts.push(server.peers.length);
  }
  expect(counts).toEqual([1, 1, 2, 3, 3, 4]);
});

test("client.request() repeats a GET once on a new connection when a kept one is dead", async () => {
  const server = await rawServer((peer) => {
    let requests = 0;
    peer.socket.on("data", () => {
      if (++requests === 1) peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      else peer.socket.destroy();
    });
  });
  cleanups.push(() => server.close());
  const address = { host: "127.0.0.1", port: server.port };
  const client = newClient();
  await client.request(address, get);
  expect((await client.request(address, get)).status).toBe(200);
  expect(server.peers.length).toBe(2);
  const post = { ...get, method: "POST", body: "order" };
  expect(client.request(address, post)).rejects.toMatchObject({ name: "ConnectionLost", answered: false });
  await until(() => server.peers[1]?.isClosed === true, "the end");
  expect(server.peers.length).toBe(2);
  await client.request(address, get);
  expect((await client.request(address, { ...post, isReplayable: true })).status).toBe(200);
  expect(server.peers.length).toBe(4);
});

test("client.request() repeats nothing once a byte of the answer came, nor on a new connection", async () => {
  const server = await rawServer((peer) => {
    let requests = 0;
    peer.socket.on("data", () => {
      if (++requests === 1) peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      else peer.socket.end("H");
    });
  });
  const dead = await rawServer((peer) => peer.socket.on("data", () => peer.socket.destroy()));
  cleanups.push(
    () => server.close(),
    () => dead.close(),
  );
  const client = newClient();
  await client.request({ host: "127.0.0.1", port: server.port }, get);
  const second = client.request({ host: "127.0.0.1", port: server.port }, get);
  expect(second).rejects.toMatchObject({ name: "ConnectionLost", answered: true });
  expect(client.request({ host: "127.0.0.1", port: dead.port }, get)).rejects.toBeInstanceOf(ConnectionLost);
  await until(() => dead.peers[0]?.isClosed === true && server.peers[0]?.isClosed === true, "both ends");
  expect([server.peers.length, dead.peers.length]).toEqual([1, 1]);
});

test("client.request() rejects with ConnectError and the system's code", async () => {
  const { address, server } = await scripted("");
  await server.close();
  expect(newClient().request(address, get)).rejects.toMatchObject({
    name: "ConnectError",
    code: "ECONNREFUSED",
  });
  const missing = { host: "", port: 0, socketPath: "/nonexistent/socket" };
  expect(newClient().request(missing, get)).rejects.toMatchObject({ name: "ConnectError", code: "ENOENT" });
});

test("client.request() gives up after timeoutMs and drops the connection", async () => {
  const server = await rawServer(() => {});
  cleanups.push(() => server.close());
  const address = { host: "127.0.0.1", port: server.port };
  expect(newClient().request(address, { ...get, timeoutMs: 30 })).rejects.toBeInstanceOf(ResponseTimeout);
  await until(() => server.peers[0]?.isClosed === true, "the connection's end");
});

test("client.request() obeys its signal before, during and after the head", async () => {
  const { address, server } = await scripted("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  const client = newClient();
  const early = client.request(address, { ...get, signal: AbortSignal.abort("early") });
  expect(early).rejects.toMatchObject({ name: "RequestAborted", cause: "early" });
  const controller = new AbortController();
  const response = await client.request(address, { ...get, signal: controller.signal });
  const reading = Promise.resolve(response.body.bytes(10)).catch((error: unknown) => error);
  controller.abort();
  expect(await reading).toBeInstanceOf(BodyAborted);
  await until(() => server.peers[0]?.isClosed === true, "the connection's end");

  const silent = await rawServer(() => {});
  cleanups.push(() => silent.close());
  const during = new AbortController();
  const waiting = client.request({ host: "127.0.0.1", port: silent.port }, { ...get, signal: during.signal });
  await until(() => silent.peers[0]?.received.includes("\r\n\r\n") === true, "the request");
  during.abort();
  expect(waiting).rejects.toBeInstanceOf(RequestAborted);
  await until(() => silent.peers[0]?.isClosed === true, "the connection's end");
});

test("client.request() queues beyond maxSocketsPerAddress and refuses beyond maxQueued", async () => {
  let open = 0;
  let most = 0;
  const address = await nodeServer((_, answer) => {
    most = Math.max(most, ++open);
    setTimeout(() => {
      open--;
      answer.end("x");
    }, 5);
  });
  const client = newClient({ maxSocketsPerAddress: 2, maxQueued: 3 });
  const results = await Promise.allSettled(Array.from({ length: 6 }, () => client.request(address, get)));
  expect(most).toBe(2);
  expect(results.map((result) => result.status)).toEqual([...Array(5).fill("fulfilled"), "rejected"]);
  expect(results[5]).toMatchObject({ reason: { name: "ConnectError", code: "EPOOLFULL" } });
});

test("a queued request can be aborted and leaves its place", async () => {
  const peers: RawPeer[] = [];
  const server = await rawServer((peer) => peers.push(peer));
  cleanups.push(() => server.close());
  const address = { host: "127.0.0.1", port: server.port };
  const client = newClient({ maxSocketsPerAddress: 1, maxQueued: 1 });
  const first = client.request(address, get);
  const controller = new AbortController();
  const second = client.request(address, { ...get, target: "/second", signal: controller.signal });
  controller.abort();
  expect(second).rejects.toBeInstanceOf(RequestAborted);
  const third = client.request(address, { ...get, target: "/third" });
  await until(() => peers[0]?.received.includes("GET / ") === true, "the first request");
  peers[0]?.send("HTTP/1.1 204 No Content\r\n\r\n");
  await until(() => peers[0]?.received.includes("/third") === true, "the third request");
  peers[0]?.send("HTTP/1.1 204 No Content\r\n\r\n");
  expect((await first).status).toBe(204);
  expect((await third).status).toBe(204);
  expect(peers[0]?.received).not.toContain("/second");
});

test("idle connections end after idleTimeoutMs and beyond maxIdlePerAddress", async () => {
  const address = await nodeServer((_, answer) => answer.end("x"));
  const client = newClient({ maxIdlePerAddress: 1, idleTimeoutMs: 40 });
  await Promise.all([client.request(address, get), client.request(address, get)]);
  expect(address.connections()).toBe(2);
  await client.request(address, get);
  expect(address.connections()).toBe(2);
  await new Promise((resolve) => setTimeout(resolve, 150));
  await client.request(address, get);
  expect(address.connections()).toBe(3);
});

test("an early response stops the rest of the request body", async () => {
  let isReturned = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      while (true) {
        yield Buffer.alloc(65_536);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      isReturned = true;
    }
  }
  const address = await nodeServer((_, answer) => answer.writeHead(413).end("enough"));
  const response = await newClient().request(address, {
    method: "POST",
    target: "/",
    headers: [],
    body: endless(),
  });
  expect(response.status).toBe(413);
  expect(await textOf(response)).toBe("enough");
  await until(() => isReturned, "return()");
});

test("a request body that fails or misses its length rejects the request", async () => {
  const { address } = await scripted("");
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("a");
    throw new Error("producer broke");
  }
  const client = newClient();
  const request = { method: "POST", target: "/", headers: [], body: failing() };
  expect(client.request(address, request)).rejects.toThrow("producer broke");
  const short = { ...request, headers: ["Content-Length", "9"], body: failing() };
  expect(client.request(address, short)).rejects.toBeInstanceOf(Error);
});

test("client.request() refuses what would change the framing", async () => {
  const { address, server } = await scripted("");
  const client = newClient();
  const wrong = [
    { method: "GE T" },
    { method: "CONNECT" },
    { target: "/a b" },
    { target: "/a\r\nX: 1" },
    { target: "" },
    { target: "/\u010d" },
    { headers: ["X", "a\r\nY: b"] },
    { headers: ["X\r\n", "a"] },
    { headers: ["X", "\u010a"] },
    { headers: ["Content-Length", "1, 2"] },
  ];
  for (const part of wrong) {
    expect(client.request(address, { ...get, ...part })).rejects.toBeInstanceOf(InvalidMessage);
  }
  await new Promise((resolve) => setImmediate(resolve));
  expect(server.peers.length).toBe(0);
});

test("hop-by-hop lines of a request are not passed on", async () => {
  const { address, server } = await scripted("HTTP/1.1 204 No Content\r\n\r\n");
  const headers = [
    "Connection",
    "keep-alive, X",
    "Keep-Alive",
    "5",
    "Transfer-Encoding",
    "chunked",
    "X",
    "1",
  ];
  await newClient().request(address, { ...get, headers: [...headers, "Content-Length", "0"] });
  expect(server.peers[0]?.received).toBe(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nX: 1\r\n\r\n`);
});

test("client.request() talks over a Unix socket", async () => {
  const folder = await mkdtemp(join(tmpdir(), "http1-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const path = join(folder, "s");
  const server = createNodeServer((message, answer) => answer.end(message.headers.host));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  cleanups.push(() => server.close());
  const response = await newClient().request({ host: "app", port: 80, socketPath: path }, get);
  expect(await textOf(response)).toBe("app");
});

test("an upgrade hands over the socket and the first bytes behind the head", async () => {
  const { address, server } = await scripted(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nearly",
    "later",
  );
  const client = newClient();
  const response = await client.request(address, {
    ...get,
    headers: ["Connection", "Upgrade", "Upgrade", "x"],
  });
  expect(server.peers[0]?.received).toContain("Upgrade: x\r\nConnection: Upgrade\r\n");
  expect(Buffer.from(response.upgrade?.head ?? []).toString()).toBe("early");
  const socket = response.upgrade?.socket;
  let received = "";
  socket?.on("data", (chunk: Buffer) => {
    received += chunk.toString();
  });
  socket?.write("more");
  await until(() => received === "later", "the answer");
  socket?.destroy();
});

test("client.close() ends connections and rejects what is open and what comes", async () => {
  const server = await rawServer(() => {});
  cleanups.push(() => server.close());
  const address = { host: "127.0.0.1", port: server.port };
  const client = newClient({ maxSocketsPerAddress: 1 });
  const open = client.request(address, get).catch((error: unknown) => error);
  const queued = client.request(address, get).catch((error: unknown) => error);
  await until(() => server.peers[0]?.received !== "" && server.peers.length === 1, "the request");
  client.close();
  expect(await open).toBeInstanceOf(Error);
  expect(await queued).toBeInstanceOf(ConnectError);
  expect(client.request(address, get)).rejects.toBeInstanceOf(ConnectError);
  await until(() => server.peers[0]?.isClosed === true, "the connection's end");
});

test("an idle connection is not used beyond its time, though no sweep has come by", async () => {
  const address = await nodeServer((_, answer) => answer.end("ok"));
  const client = newClient();
  const clock = spyOn(performance, "now");
  try {
    for (const [afterMs, connections] of [
      [0, 1],
      [3_900, 1],
      [4_100, 2],
    ] as const) {
      clock.mockReturnValue(performance.now() + afterMs);
      expect(await textOf(await client.request(address, get))).toBe("ok");
      expect(address.connections()).toBe(connections);
    }
  } finally {
    clock.mockRestore();
  }
});
