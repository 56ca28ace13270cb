import { afterEach, expect, test } from "bun:test";
import { type IncomingMessage, request as nodeRequest } from "node:http";
import { createServer } from "node:net";
import { RawPeer, rawClient, until } from "./fixture-peer.ts";
import { get, reply, ServerFixture, streamOf } from "./fixture-server.ts";
import { createHttpServer } from "./server.ts";
import type { HttpReply, HttpRequest } from "./types.ts";

const fixture = new ServerFixture();
afterEach(() => fixture.end());
const start = fixture.start.bind(fixture);

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
