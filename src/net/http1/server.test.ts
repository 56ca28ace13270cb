import { afterEach, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { type IncomingMessage, request as nodeRequest } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BodyAborted, BodyTooLarge } from "./errors.ts";
import { RawPeer, rawClient, until } from "./fixture-peer.ts";
import { createHttpServer, type HttpServer } from "./server.ts";
import type { HttpServerOptions } from "./server-options.ts";
import type { HttpReply, HttpRequest } from "./types.ts";

const cleanups: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Started = { server: HttpServer; port: number; peer: () => RawPeer };

async function start(
  handler: (request: HttpRequest) => HttpReply | Promise<HttpReply>,
  options: Partial<HttpServerOptions> = {},
): Promise<Started> {
  const server = createHttpServer({ handler, ...options });
  cleanups.push(() => server.close());
  const bound = await server.listen({ port: 0 });
  const port = "port" in bound ? bound.port : 0;
  const peer = (): RawPeer => {
    const client = rawClient({ port });
    cleanups.push(() => client.socket.destroy());
    return client;
  };
  return { server, port, peer };
}

const reply = (body?: HttpReply["body"], status = 200, headers: string[] = []): HttpReply => ({
  status,
  headers,
  body,
});
const get = (target: string, fields = ""): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
const post = (body: string, fields = ""): string =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;

async function* streamOf(...pieces: string[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield Buffer.from(piece);
}

test("createHttpServer() answers text, bytes and nothing with their length", async () => {
  const bodies: Record<string, HttpReply["body"]> = {
    "/t": "hé",
    "/b": Buffer.from([1, 2]),
    "/n": undefined,
  };
  const { peer } = await start((request) => reply(bodies[request.target]));
  const client = peer();
  client.send(get("/t") + get("/b") + get("/n", "Connection: close\r\n"));
  await client.untilEnded();
  expect(client.received).toBe(
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nh\xc3\xa9" +
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\x01\x02" +
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  );
});

test("createHttpServer() hands over header case, order, duplicates and the raw target", async () => {
  let seen: HttpRequest | undefined;
  const { peer } = await start((request) => {
    seen = request;
    return reply("ok");
  });
  const client = peer();
  client.send(get("/a%2fb?q", "X-One: 1\r\nx-oNe:  2 \r\nLast:\r\n"));
  await client.untilReceived("ok");
  expect(seen?.rawHeaders).toEqual(["Host", "a", "X-One", "1", "x-oNe", "2", "Last", ""]);
  expect(seen?.header("x-one")).toBe("1, 2");
  expect(seen?.header("last")).toBe("");
  expect(seen?.header("absent")).toBeUndefined();
  expect(seen?.target).toBe("/a%2fb?q");
  expect(seen?.remoteAddress).toBe("127.0.0.1");
});

test("createHttpServer() answers pipelined requests in order though later handlers are faster", async () => {
  const gate = Promise.withResolvers<void>();
  const { peer } = await start(async (request) => {
    if (request.target === "/slow") await gate.promise;
    return reply(`<${request.target}>`);
  });
  const client = peer();
  client.send(get("/slow") + get("/2") + get("/3"));
  client.send(get("/4"));
  gate.resolve();
  await client.untilReceived("</4>");
  expect(client.received.match(/<[^>]+>/g)).toEqual(["</slow>", "</2>", "</3>", "</4>"]);
});

test("createHttpServer() holds a flood of pipelined requests back", async () => {
  const gate = Promise.withResolvers<void>();
  let handled = 0;
  const { peer } = await start(async () => {
    handled++;
    await gate.promise;
    return reply("x");
  });
  const client = peer();
  const flood = get("/flood", `X: ${"y".repeat(1_000)}\r\n`).repeat(20_000);
  client.send(flood);
  await until(() => handled === 1, "the first request");
  expect(client.socket.writableLength).toBeGreaterThan(1_000_000);
  gate.resolve();
  await until(() => handled === 20_000, "all requests", 20_000);
});

test("createHttpServer() streams chunk by chunk, as it comes", async () => {
  const steps = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  async function* events(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("one");
    await steps[0]?.promise;
    yield new Uint8Array(0);
    yield Buffer.from("two");
    await steps[1]?.promise;
  }
  const { peer } = await start(() => reply(events(), 200, ["Content-Type", "text/event-stream"]));
  const client = peer();
  client.send(get("/"));
  await client.untilReceived("3\r\none\r\n");
  expect(client.received).toContain("Transfer-Encoding: chunked\r\n");
  steps[0]?.resolve();
  await client.untilReceived("3\r\ntwo\r\n");
  expect(client.received).not.toContain("0\r\n\r\n");
  steps[1]?.resolve();
  await client.untilReceived("0\r\n\r\n");
});

test("createHttpServer() sends a stream's head before its first chunk", async () => {
  const gate = Promise.withResolvers<void>();
  async function* late(): AsyncGenerator<Uint8Array> {
    await gate.promise;
    yield Buffer.from("late");
  }
  const { peer } = await start(() => reply(late()));
  const client = peer();
  client.send(get("/"));
  await client.untilReceived("\r\n\r\n");
  gate.resolve();
  await client.untilReceived("late");
});

test("createHttpServer() frames a stream by the Content-Length given, and by close for HTTP/1.0", async () => {
  const { peer } = await start((request) =>
    reply(streamOf("ab", "cd"), 200, request.target === "/l" ? ["content-length", "4"] : []),
  );
  const client = peer();
  client.send(`${get("/l")}GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
  await client.untilEnded();
  expect(client.received).toBe(
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcdHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcd",
  );
});

test("createHttpServer() cuts the connection when a stream fails or misses its length", async () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("part");
    throw new Error("broken");
  }
  const { peer } = await start((request) => {
    if (request.target === "/fail") return reply(failing());
    return reply(streamOf("abc"), 200, ["Content-Length", request.target === "/short" ? "4" : "2"]);
  });
  for (const target of ["/fail", "/short", "/long"]) {
    const client = peer();
    client.send(get(target));
    await client.untilEnded();
    expect(client.received).not.toContain("0\r\n\r\n");
    expect(client.received.split("\r\n\r\n")[1]?.length ?? 0).toBeLessThan(12);
  }
});

test("createHttpServer() sends no body for HEAD, 204 and 304", async () => {
  let returned = 0;
  const stream = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: async () => ({ done: true as const, value: returned++ }),
    }),
  };
  const { peer } = await start((request) => {
    if (request.target === "/204") return reply("x", 204);
    if (request.target === "/304") return reply("x", 304, ["Content-Length", "7"]);
    return reply(request.target === "/stream" ? stream : "four");
  });
  const client = peer();
  const head = (target: string): string => get(target).replace("GET", "HEAD");
  client.send(head("/") + head("/stream") + get("/204") + get("/304") + get("/", "Connection: close\r\n"));
  await client.untilEnded();
  expect(client.received).toBe(
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" +
      "HTTP/1.1 200 OK\r\n\r\n" +
      "HTTP/1.1 204 No Content\r\n\r\n" +
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" +
      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfour",
  );
  expect(returned).toBe(1);
});

test("createHttpServer() answers 500 for handlers that throw, reject or name bad headers", async () => {
  const errors: unknown[] = [];
  const { peer } = await start(
    (request) => {
      if (request.target === "/throw") throw new Error("thrown");
      if (request.target === "/reject") return Promise.reject(new Error("rejected"));
      if (request.target === "/101") return reply(undefined, 101);
      if (request.target === "/status") return reply("x", 99);
      if (request.target === "/103") return reply("x", 103);
      if (request.target === "/name") return reply("x", 200, ["a b", "1"]);
      return reply("x", 200, ["a", request.target === "/wide" ? "\u010d\u010a" : "1\r\nSet-Cookie: x"]);
    },
    { onHandlerError: (error) => errors.push(error) },
  );
  const client = peer();
  for (const target of ["/throw", "/reject", "/101", "/status", "/103", "/name", "/wide", "/split"])
    client.send(get(target));
  await until(() => errors.length === 8, "all errors");
  await until(() => client.received.split("HTTP/1.1 500 ").length === 9, "all answers");
  expect(client.received).not.toContain("Set-Cookie");
});

test("createHttpServer() says 100 Continue only when the body is asked for", async () => {
  const { peer } = await start(async (request) => {
    if (request.target === "/no") return reply("refused", 413);
    return reply(await request.body.bytes(10));
  });
  const client = peer();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  await client.untilReceived("HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hello");
  await client.untilReceived("\r\n\r\nhello");
  client.send("POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  await client.untilEnded();
  expect(client.received.split("100 Continue").length).toBe(2);
  expect(client.received).toContain("413 Payload Too Large\r\nContent-Length: 7\r\nConnection: close");
});

test("body.bytes() is synchronous for a body that came with its head", async () => {
  const { peer } = await start((request) => {
    const bytes = request.body.bytes(10);
    return reply(bytes instanceof Uint8Array ? bytes : "not yet");
  });
  const client = peer();
  client.send(post("hello"));
  await client.untilReceived("\r\n\r\nhello");
});

test("body.bytes() throws BodyTooLarge beyond its limit, announced or not", async () => {
  const errors: unknown[] = [];
  const { peer } = await start(async (request) => {
    try {
      return reply(await request.body.bytes(4));
    } catch (error) {
      errors.push(error);
      return reply("large", 413);
    }
  });
  const client = peer();
  client.send(post("hello"));
  await client.untilReceived("large");
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  client.send("3\r\ndef\r\n0\r\n\r\n");
  await until(() => client.received.split("large").length === 3, "the second answer");
  client.send(post("tiny"));
  await client.untilReceived("tiny");
  expect(errors.every((error) => error instanceof BodyTooLarge)).toBe(true);
  expect(errors.length).toBe(2);
});

test("createHttpServer() reads past a small unread body and closes on a large one", async () => {
  const { peer } = await start(() => reply("done"), { drainBytesMax: 1_000 });
  const client = peer();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
  await client.untilReceived("done");
  expect(client.received).not.toContain("close");
  client.send(`${"x".repeat(900)}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n`);
  await client.untilReceived("Connection: close");
  const chunked = peer();
  chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  await chunked.untilReceived("done");
  chunked.send(`400\r\n${"x".repeat(1_024)}\r\n`.repeat(3));
  await chunked.untilEnded();
});

test("createHttpServer() keeps a slow body reader's client waiting, not its bytes", async () => {
  const gate = Promise.withResolvers<void>();
  let total = 0;
  const { peer } = await start(async (request) => {
    await gate.promise;
    for await (const chunk of request.body) total += chunk.length;
    return reply("read");
  });
  const client = peer();
  const size = 30_000_000;
  client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
  client.socket.write(Buffer.alloc(size));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(client.socket.writableLength).toBeGreaterThan(size / 2);
  gate.resolve();
  await client.untilReceived("read");
  expect(total).toBe(size);
});

test("createHttpServer() pulls a stream no faster than its client reads", async () => {
  let produced = 0;
  let isReturned = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      while (true) {
        produced += 65_536;
        yield Buffer.alloc(65_536);
      }
    } finally {
      isReturned = true;
    }
  }
  const { peer } = await start(() => reply(endless()));
  const client = peer();
  client.socket.pause();
  client.send(get("/"));
  let before = -1;
  await until(() => {
    const isStill = produced > 0 && produced === before;
    before = produced;
    return isStill;
  }, "the producer to stop");
  // What the kernel's two socket buffers take, and 256 KB of ours.
  expect(produced).toBeLessThan(20_000_000);
  client.socket.destroy();
  await until(() => isReturned, "return()");
});

test("createHttpServer() mixes up no bytes when its client reads late and slowly", async () => {
  const bodyOf = (i: number): string => `${i}:`.repeat(i % 7 === 0 ? 60_000 : 1 + (i % 50));
  const forms: ((text: string) => HttpReply["body"])[] = [
    (text) => text,
    (text) => Buffer.from(text),
    (text) => streamOf(text.slice(0, 9), text.slice(9)),
  ];
  const { peer } = await start(({ target }) => {
    const i = Number(target.slice(1));
    return reply(forms[i % 3]?.(bodyOf(i)), 200, ["Content-Length", String(bodyOf(i).length)]);
  });
  const client = peer();
  client.socket.pause();
  const count = 300;
  const requests = Array.from({ length: count }, (_, i) =>
    get(`/${i}`, i === count - 1 ? "Connection: close\r\n" : ""),
  );
  client.send(requests.join(""));
  while (!client.isEnded) {
    client.socket.resume();
    await new Promise((resolve) => setImmediate(resolve));
    client.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const expected = requests.map((_, i) => {
    const close = i === count - 1 ? "Connection: close\r\n" : "";
    return `HTTP/1.1 200 OK\r\nContent-Length: ${bodyOf(i).length}\r\n${close}\r\n${bodyOf(i)}`;
  });
  expect(client.received === expected.join("")).toBe(true);
}, 20_000);

test("request.signal aborts and the body's iterator returns when the client leaves", async () => {
  const signals: AbortSignal[] = [];
  let isReturned = false;
  const waiting = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: async () => {
        isReturned = true;
        return { done: true as const, value: undefined };
      },
    }),
  };
  const { peer } = await start((request) => {
    signals.push(request.signal);
    return request.target === "/wait" ? new Promise<never>(() => {}) : reply(waiting);
  });
  for (const target of ["/wait", "/stream"]) {
    const client = peer();
    client.send(get(target));
    await until(() => signals.length === (target === "/wait" ? 1 : 2), "the request");
    expect(signals.at(-1)?.aborted).toBe(false);
    client.socket.destroy();
    await until(() => signals.at(-1)?.aborted === true, `the abort of ${target}`);
  }
  await until(() => isReturned, "return()");
});

test("a body cut off by its client fails with BodyAborted for every kind of reader", async () => {
  const errors: unknown[] = [];
  const { peer } = await start(async (request) => {
    try {
      if (request.target === "/whole") await request.body.bytes(1_000);
      else for await (const _ of request.body);
    } catch (error) {
      errors.push(error);
    }
    return reply("never seen");
  });
  for (const target of ["/whole", "/pieces"]) {
    const client = peer();
    client.send(`POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!`);
    await until(() => client.socket.bytesWritten > 50 && client.socket.writableLength === 0, "the send");
    client.socket.end();
    await client.untilEnded();
  }
  await until(() => errors.length === 2, "two errors");
  expect(errors.every((error) => error instanceof BodyAborted)).toBe(true);
});

test("createHttpServer() answers a client that has closed its sending side", async () => {
  const { peer } = await start(async (request) => {
    await new Promise((resolve) => setImmediate(resolve));
    return reply(`<${request.target}>`);
  });
  const client = peer();
  client.socket.end(get("/1") + get("/2"), "latin1");
  await client.untilEnded();
  expect(client.received.match(/<[^>]+>/g)).toEqual(["</1>", "</2>"]);
});

test("createHttpServer() cuts slow heads with 408 and idle connections silently", async () => {
  const { peer } = await start(() => reply("ok"), { headTimeoutMs: 80, keepAliveTimeoutMs: 80 });
  const slow = peer();
  slow.send("GET / HTTP/1.1\r\n");
  const idle = peer();
  idle.send(get("/"));
  const silent = peer();
  await Promise.all([slow.untilEnded(), idle.untilEnded(), silent.untilEnded()]);
  expect(slow.received).toContain("408 Request Timeout");
  expect(idle.received).toEndWith("ok");
  expect(silent.received).toBe("");
});

test("createHttpServer() cuts an upload that stalls and a reader that does not read", async () => {
  const failures: unknown[] = [];
  const { peer } = await start(
    async (request) => {
      if (request.method === "GET") return reply(Buffer.alloc(50_000_000));
      try {
        await request.body.bytes(100);
      } catch (error) {
        failures.push(error);
      }
      return reply("x");
    },
    { stallTimeoutMs: 100 },
  );
  const upload = peer();
  upload.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!");
  const download = peer();
  download.socket.pause();
  download.send(get("/"));
  await upload.untilEnded();
  expect(upload.received).toContain("408");
  expect(failures.length).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 300));
  download.socket.resume();
  await download.untilEnded();
  expect(download.received.length).toBeLessThan(50_000_000);
});

test("createHttpServer() refuses connections over its maximum with 503", async () => {
  const { peer, server } = await start(() => reply("ok"), { maxConnections: 1 });
  const first = peer();
  first.send(get("/"));
  await first.untilReceived("ok");
  const second = peer();
  await second.untilEnded();
  expect(second.received).toContain("503 Service Unavailable");
  first.socket.destroy();
  await until(() => server.connectionCount === 0, "no connection");
  const third = peer();
  third.send(get("/"));
  await third.untilReceived("ok");
});

test("server.close() ends idle connections, finishes requests, then cuts", async () => {
  const gate = Promise.withResolvers<void>();
  const targets: string[] = [];
  const { peer, server } = await start(async (request) => {
    targets.push(request.target);
    if (request.target === "/slow") await gate.promise;
    if (request.target === "/never") await new Promise(() => {});
    return reply("finished");
  });
  const [idle, slow, never] = [peer(), peer(), peer()];
  idle.send(get("/idle"));
  slow.send(get("/slow"));
  never.send(get("/never"));
  await until(() => targets.length === 3, "three requests");
  const closing = server.close({ graceMs: 300 });
  await idle.untilEnded();
  gate.resolve();
  await slow.untilEnded();
  expect(slow.received).toContain("Connection: close\r\n\r\nfinished");
  await closing;
  await never.untilEnded();
  expect(never.received).toBe("");
});

test("server.listen() serves several addresses and a Unix socket, and clears only stale files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "http1-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const path = join(folder, "s");
  const handler = (): HttpReply => reply("ok");
  const { server, port } = await start(handler);
  await server.listen({ port: 0 });
  await server.listen({ socketPath: path });
  for (const where of [{ port }, { path }]) {
    const client = rawClient(where);
    client.send(get("/", "Connection: close\r\n"));
    await client.untilEnded();
    expect(client.received).toEndWith("ok");
  }
  const other = createHttpServer({ handler });
  expect(other.listen({ socketPath: path })).rejects.toMatchObject({ code: "EADDRINUSE" });
  await server.close();
  expect(existsSync(path)).toBe(false);

  const file = join(folder, "file");
  writeFileSync(file, "precious");
  expect(other.listen({ socketPath: file })).rejects.toMatchObject({ code: "EADDRINUSE" });
  expect(other.listen({ port })).resolves.toMatchObject({ port });
  await other.close();
});

test("server.listen() takes the place of a socket file whose owner died", async () => {
  const folder = await mkdtemp(join(tmpdir(), "http1-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const path = join(folder, "s");
  const owner = Bun.spawn([
    process.execPath,
    "-e",
    `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
  ]);
  await owner.exited;
  expect(existsSync(path)).toBe(true);
  const server = createHttpServer({ handler: () => reply("alive") });
  await server.listen({ socketPath: path });
  const client = rawClient({ path });
  client.send(get("/"));
  await client.untilReceived("alive");
  await server.close();
});

test("onHttp2 gets a connection with the preface unread, and no other", async () => {
  const prefaces: string[] = [];
  const { peer } = await start(() => reply("http1"), {
    onHttp2: (socket) => {
      const peer = new RawPeer(socket);
      until(() => peer.received.endsWith("SETTINGS"), "the preface").then(() => {
        prefaces.push(peer.received);
        socket.end("http2");
      });
    },
  });
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nSETTINGS";
  for (const at of [preface.length, 1, 3, 20, 26]) {
    const client = peer();
    client.send(preface.slice(0, at));
    if (at < preface.length) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      client.send(preface.slice(at));
    }
    await client.untilReceived("http2");
  }
  expect(prefaces).toEqual(Array(5).fill(preface));
  const client = peer();
  client.send("P");
  await new Promise((resolve) => setTimeout(resolve, 10));
  client.send("OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  await client.untilReceived("http1");
});

test("a 101 reply hands the socket over with the bytes behind the head", async () => {
  let early: Uint8Array | undefined;
  const { peer, server } = await start((request) => ({
    status: 101,
    headers: ["Upgrade", "echo", "Connection", "Upgrade"],
    takeOver: (socket, head) => {
      early = head;
      expect(request.header("upgrade")).toBe("echo");
      socket.on("data", (chunk: Buffer) => socket.write(`<${chunk.toString()}>`));
      socket.on("end", () => socket.end());
    },
  }));
  const client = peer();
  client.send(`${get("/", "Upgrade: echo\r\nConnection: Upgrade\r\n")}early`);
  await client.untilReceived(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n",
  );
  expect(Buffer.from(early ?? []).toString()).toBe("early");
  client.send("later");
  await client.untilReceived("<later>");
  expect(server.connectionCount).toBe(1);
  client.socket.end();
  await client.untilEnded();
  await until(() => server.connectionCount === 0, "the end");
});

test("server.accept() serves a socket from another listener", async () => {
  const server = createHttpServer({ handler: () => reply("accepted") });
  const listener = createServer({ allowHalfOpen: true }, (socket) => server.accept(socket));
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  const client = rawClient({ port: typeof address === "object" && address ? address.port : 0 });
  client.send(get("/"));
  await client.untilReceived("accepted");
  await server.close();
  listener.close();
});

test("sendsDate adds a Date line unless the reply has one", async () => {
  const { peer } = await start(
    (request) => reply("x", 200, request.target === "/own" ? ["date", "mine"] : []),
    {
      sendsDate: true,
    },
  );
  const client = peer();
  client.send(get("/") + get("/own", "Connection: close\r\n"));
  await client.untilEnded();
  expect(client.received).toMatch(/\r\nDate: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT\r\n/);
  expect(client.received).toContain("date: mine\r\n");
  expect(client.received.match(/date: /gi)?.length).toBe(2);
});

test("node:http's client, an independent peer, gets what it asks for", async () => {
  const { port } = await start(async (request) => {
    const body = await request.body.bytes(1_000_000);
    return reply(streamOf(request.method, " ", String(body.length)), 201, [
      "X-Seen",
      request.header("x-sent") ?? "",
    ]);
  });
  const answer = await new Promise<{ message: IncomingMessage; text: string }>((resolve, reject) => {
    const sent = nodeRequest(
      { port, host: "127.0.0.1", method: "PUT", headers: { "x-sent": "é" } },
      (message) => {
        let text = "";
        message.on("data", (chunk) => {
          text += chunk;
        });
        message.on("end", () => resolve({ message, text }));
      },
    );
    sent.on("error", reject);
    for (let i = 0; i < 10; i++) sent.write("x".repeat(50_000));
    sent.end();
  });
  expect(answer.message.statusCode).toBe(201);
  expect(answer.message.headers["x-seen"]).toBe("é");
  expect(answer.text).toBe("PUT 500000");
});
