import { afterEach, expect, test } from "bun:test";
import { BodyAborted, BodyTooLarge } from "./errors.ts";
import { until } from "./fixture-peer.ts";
import { get, post, reply, ServerFixture, streamOf } from "./fixture-server.ts";
import type { HttpReply } from "./types.ts";

const fixture = new ServerFixture();
afterEach(() => fixture.end());
const start = fixture.start.bind(fixture);

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
